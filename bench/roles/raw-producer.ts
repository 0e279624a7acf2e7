/**
 * Publishes small batches that were encoded ahead, over many connections at once: the frames of the TCP transport are written
 * as they are and their answers only counted, so that the broker has far more to do than who loads it.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { encodeOpening, encodeProduce, StreamReader } from 'ratatoskr/ports'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { BatchRing } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'

export interface RawProducerSetup {
  readonly url: string
  readonly topic: string
  readonly partitions: number
  readonly connections: number
  readonly payloadBytes: number
  readonly recordsPerBatch: number
}

/** What was answered since the window began. */
export interface RawWindow {
  readonly batches: number
  /** From a write of several batches to its last answer. */
  readonly latencyMs: Latency
}

export interface RawFindings {
  readonly batches: number
  readonly failed: number
}

/** Batches that are written at once, and how many times that is under way on a connection. */
const [batchesPerWrite, writesUnderWay] = [16, 2]
const prefixBytes = 4
/** The first byte of an answer that says where a batch is stored. */
const produced = 2

let stopped = false
let acked = 0
let failed = 0
let ackedBefore = 0
let answeredMs: number[] = []
let open: readonly { readonly socket: Socket; readonly idle: Promise<void> }[] = []

serveRole({
  start: async (setup: RawProducerSetup) => {
    const { hostname, port } = new URL(setup.url)
    open = await Promise.all(
      Array.from({ length: setup.connections }, async (_, first) => {
        const socket = connect({ host: hostname, port: Number(port), noDelay: true })
        await once(socket, 'connect')
        socket.write(encodeOpening(1024 * 1024))
        return { socket, idle: load(socket, framesOf(setup, first)) }
      }),
    )
  },
  windowBegin: () => {
    ackedBefore = acked
    answeredMs = []
  },
  window: (): RawWindow => ({
    batches: acked - ackedBefore,
    latencyMs: latencyOf(Float64Array.from(answeredMs)),
  }),
  stop: async (): Promise<RawFindings> => {
    stopped = true
    await Promise.all(open.map(({ idle }) => idle))
    for (const { socket } of open) socket.destroy()
    return { batches: acked, failed }
  },
})

/** Frames for partitions in turn, back to back, each with its length before it. */
function framesOf({ topic, partitions, ...shape }: RawProducerSetup, first: number): Buffer {
  const ring = new BatchRing(1, shape)
  const frames = Array.from({ length: batchesPerWrite }, (_, place) => {
    const frame = encodeProduce(place + 1, topic, (first + place) % partitions, undefined, ring.next())
    const prefix = Buffer.alloc(prefixBytes)
    prefix.writeUInt32BE(frame.length)
    return Buffer.concat([prefix, frame])
  })
  return Buffer.concat(frames)
}

/** Writes whenever one write has been answered in full. Settles when it was stopped and everything is answered. */
function load(socket: Socket, frames: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let answered = 0
    let underWay = 0
    /** When the writes that are under way were made, in order. */
    const begun: number[] = []
    const write = (): void => {
      begun.push(performance.now())
      socket.write(frames)
    }
    const reader = new StreamReader(1024 * 1024, {
      opening: () => {
        for (; underWay < writesUnderWay; underWay++) write()
      },
      frame: (frame) => {
        if (frame.length === 0) return
        if (frame[0] === produced) acked++
        else failed++
        if (++answered % batchesPerWrite !== 0) return
        answeredMs.push(performance.now() - (begun.shift() as number))
        if (!stopped) write()
        else if (--underWay === 0) resolve()
      },
    })
    socket.on('data', (chunk) => reader.push(chunk as Buffer))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the broker closed a connection')))
  })
}
