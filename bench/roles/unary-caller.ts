/** Publishes by unary gRPC calls, one message each, so many at a time; the client is grpc-js alone, without ours. */
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js'
import { Durability, MessageServiceService, type PublishRequest, type PublishResponse } from 'ratatoskr/proto'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'

export interface UnarySetup {
  /** Host and port. */
  readonly address: string
  readonly topic: string
  readonly payloadBytes: number
  readonly inFlight: number
  /** Among which the calls are shared; one otherwise. */
  readonly connections?: number
  /** Pause after each answer, so that the calls ask and do not load. */
  readonly pauseMs?: number
}

export interface UnaryWindow {
  readonly calls: number
  readonly seconds: number
  /** Of calls that were accepted. */
  readonly latencyMs: Latency
  readonly refused: number
  /** From the call to its refusal. */
  readonly refusedMs: Latency
}

export interface UnaryFindings {
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
}

const { path, requestSerialize, responseDeserialize } = MessageServiceService.publish
/** More than a run stores. */
const offsetsOfPartition = 2 ** 40
let stopped = false
let calls = 0
let windowStart = 0
let windowStartMs = 0
let acceptedMs: number[] = []
let refusedMs: number[] = []
const offsets = new Set<number>()
let lanes: readonly Promise<void>[] = []

serveRole({
  start: ({ address, inFlight, topic, payloadBytes, connections = 1, pauseMs = 0 }: UnarySetup) => {
    // Those of the same address would otherwise share one.
    const apart = { 'grpc.use_local_subchannel_pool': 1 }
    const clients = Array.from(
      { length: connections },
      () => new Client(address, credentials.createInsecure(), apart),
    )
    const message = { headers: [], payload: Buffer.alloc(payloadBytes, 0x61) }
    const request: PublishRequest = { topic, message, durability: Durability.DURABILITY_UNSPECIFIED }
    const callBy = (client: Client) => () =>
      new Promise<PublishResponse>((resolve, reject) => {
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, response) => {
          if (error !== null || response === undefined) reject(error)
          else resolve(response)
        })
      })
    lanes = Array.from({ length: inFlight }, (_, place) =>
      lane(callBy(clients[place % connections]), pauseMs),
    )
    for (const one of lanes) one.catch(() => {}) // told to whoever asks for the result
  },
  windowBegin: () => {
    windowStart = calls
    windowStartMs = performance.now()
    acceptedMs = []
    refusedMs = []
  },
  window: (): UnaryWindow => ({
    calls: calls - windowStart,
    seconds: (performance.now() - windowStartMs) / 1_000,
    latencyMs: latencyOf(Float64Array.from(acceptedMs)),
    refused: refusedMs.length,
    refusedMs: latencyOf(Float64Array.from(refusedMs)),
  }),
  /** Each accepted call is stored under an offset of its own. An empty handler answers with none: nothing is lost there. */
  stop: async (): Promise<UnaryFindings> => {
    stopped = true
    await Promise.all(lanes)
    return { sent: calls, lost: 0, duplicated: offsets.size === 0 ? 0 : calls - offsets.size }
  },
})

async function lane(call: () => Promise<PublishResponse>, pauseMs: number): Promise<void> {
  while (!stopped) {
    const beginMs = performance.now()
    try {
      const { receipt } = await call()
      calls++
      acceptedMs.push(performance.now() - beginMs)
      if (receipt !== undefined) offsets.add(receipt.partition * offsetsOfPartition + receipt.offset)
    } catch (error) {
      if ((error as ServiceError).code !== status.RESOURCE_EXHAUSTED) throw error
      refusedMs.push(performance.now() - beginMs)
    }
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
