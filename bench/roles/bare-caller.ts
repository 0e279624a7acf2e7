/**
 * Publishes by unary gRPC calls, one message each, so many at a time, by frames of HTTP/2 that it writes itself: requests are
 * made once and numbered, and of answers the messages alone are read. So it costs a tenth of a gRPC client, and the server is
 * the bound.
 */
import { connect, type Socket } from 'node:net'
import { Durability, MessageServiceService } from 'ratatoskr/proto'
import { latencyOf } from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'
import type { UnaryFindings, UnarySetup, UnaryWindow } from './unary-caller.ts'

const frame = { data: 0, headers: 1, settings: 4, ping: 6, windowUpdate: 8 } as const
const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const
const headBytes = 9
const prefixBytes = 5
/** What is read is made room for again after so many bytes. */
const creditBytes = 1024 * 1024
const { path, requestSerialize, responseDeserialize } = MessageServiceService.publish
/** More than a run stores. */
const offsetsOfPartition = 2 ** 40
const windowUpdate = (bytes: number): Buffer => frameOf(frame.windowUpdate, 0, uint32(bytes))

let callers: readonly BareCaller[] = []
let windowStartMs = 0

serveRole({
  start: ({ address, topic, payloadBytes, inFlight, connections = 1 }: UnarySetup) => {
    const request = requestOf(address, topic, payloadBytes)
    const each = Math.ceil(inFlight / connections)
    callers = Array.from({ length: connections }, () => new BareCaller(address, request, each))
  },
  windowBegin: () => {
    windowStartMs = performance.now()
    for (const caller of callers) caller.begin()
  },
  window: (): UnaryWindow => ({
    calls: callers.reduce((sum, { answeredMs }) => sum + answeredMs.length, 0),
    seconds: (performance.now() - windowStartMs) / 1_000,
    latencyMs: latencyOf(Float64Array.from(callers.flatMap(({ answeredMs }) => answeredMs))),
    refused: 0,
    refusedMs: latencyOf(new Float64Array(0)),
  }),
  /** Each accepted call is stored under an offset of its own. An empty handler answers with none: nothing is lost there. */
  stop: async (): Promise<UnaryFindings> => {
    await Promise.all(callers.map((caller) => caller.stop()))
    const sent = callers.reduce((sum, { calls }) => sum + calls, 0)
    const offsets = new Set(callers.flatMap((caller) => caller.offsets))
    return { sent, lost: 0, duplicated: offsets.size === 0 ? 0 : sent - offsets.size }
  },
})

class BareCaller {
  readonly offsets: number[] = []
  answeredMs: number[] = []
  calls = 0
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #begunMs = new Map<number, number>()
  readonly #ended = Promise.withResolvers<void>()
  #out: Buffer[] = []
  #rest: Buffer = Buffer.alloc(0)
  #unreturnedBytes = 0
  #nextStream = 1
  #stopped = false

  constructor(address: string, request: Buffer, inFlight: number) {
    const { hostname, port } = new URL(`tcp://${address}`)
    this.#request = request
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true })
    this.#socket
      .on('data', (chunk: Buffer) => this.#read(chunk))
      .on('error', (error) => this.#ended.reject(error))
    this.#socket.on('close', () => this.#ended.reject(new Error('the server has closed the connection')))
    this.#ended.promise.catch(() => {}) // told to whoever asks for the result
    this.#out.push(
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frameOf(frame.settings, 0, Buffer.alloc(0)),
    )
    this.#out.push(windowUpdate(4 * creditBytes))
    for (let count = 0; count < inFlight; count++) this.#call()
    this.#flush()
  }

  begin(): void {
    this.answeredMs = []
  }

  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#begunMs.size === 0) this.#ended.resolve()
    await this.#ended.promise
    this.#socket.destroy()
  }

  #call(): void {
    const request = Buffer.from(this.#request)
    const stream = this.#nextStream
    this.#nextStream += 2
    request.writeUInt32BE(stream, 5)
    request.writeUInt32BE(stream, headBytes + request.readUIntBE(0, 3) + 5)
    this.#begunMs.set(stream, performance.now())
    this.#out.push(request)
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= headBytes) {
      const end = at + headBytes + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      this.#take(
        bytes[at + 3],
        bytes[at + 4],
        bytes.readUInt32BE(at + 5),
        bytes.subarray(at + headBytes, end),
      )
      at = end
    }
    this.#rest = bytes.subarray(at)
    if (this.#unreturnedBytes > creditBytes) {
      this.#out.push(windowUpdate(this.#unreturnedBytes))
      this.#unreturnedBytes = 0
    }
    this.#flush()
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    const isAck = (flags & flag.ack) !== 0
    if (type === frame.settings && !isAck) this.#out.push(frameOf(frame.settings, flag.ack, Buffer.alloc(0)))
    if (type === frame.ping && !isAck) this.#out.push(frameOf(frame.ping, flag.ack, payload))
    if (type === frame.data) {
      this.#unreturnedBytes += payload.length
      this.#answered(payload)
    }
    if (type <= frame.headers && (flags & flag.endStream) !== 0) this.#over(stream)
  }

  #answered(message: Buffer): void {
    const { receipt } = responseDeserialize(message.subarray(prefixBytes))
    if (receipt !== undefined) this.offsets.push(receipt.partition * offsetsOfPartition + receipt.offset)
    this.calls++
  }

  #over(stream: number): void {
    this.answeredMs.push(performance.now() - (this.#begunMs.get(stream) as number))
    this.#begunMs.delete(stream)
    if (!this.#stopped) this.#call()
    else if (this.#begunMs.size === 0) this.#ended.resolve()
  }

  #flush(): void {
    if (this.#out.length === 0) return
    this.#socket.write(Buffer.concat(this.#out))
    this.#out = []
  }
}

/** Headers and body of a call; the numbers of their stream are still to come. */
function requestOf(address: string, topic: string, payloadBytes: number): Buffer {
  const message = { headers: [], payload: Buffer.alloc(payloadBytes, 0x61) }
  const body = requestSerialize({ topic, message, durability: Durability.DURABILITY_UNSPECIFIED })
  const prefix = Buffer.alloc(prefixBytes)
  prefix.writeUInt32BE(body.length, 1)
  const post = 0x83 // of the static table
  const http = 0x86
  const headers = Buffer.concat([
    Buffer.of(post, http),
    header(':path', path),
    header(':authority', address),
    header('content-type', 'application/grpc+proto'),
    header('te', 'trailers'),
  ])
  return Buffer.concat([
    frameOf(frame.headers, flag.endHeaders, headers),
    frameOf(frame.data, flag.endStream, Buffer.concat([prefix, body])),
  ])
}

/** A header that is in no table. */
const header = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.of(0), lengthAndText(name), lengthAndText(value)])
const lengthAndText = (text: string): Buffer => Buffer.concat([Buffer.of(text.length), Buffer.from(text)])

function frameOf(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  return Buffer.concat([head, payload])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
