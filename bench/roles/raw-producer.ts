/**
 * Publishes small batches that were encoded ahead, over many connections at once: the frames of the TCP transport are written
 * as they are and their answers only counted, so that the broker has far more to do than who loads it. A connection says hello as
 * the client does, and sends to the partitions of the worker that it has reached; or to all partitions in turn.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type BrokerPlace, encodeOpening, encodeProduce, StreamReader, utf8, utf8Text } from 'ratatoskr/ports'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { BatchRing } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'
import { framed } from '../harness/frames.ts'

export interface RawProducerSetup {
  readonly url: string
  readonly topic: string
  /** Worker of each partition, when each is to be sent to its own; all of them otherwise. */
  readonly workers: readonly (number | undefined)[]
  readonly direct: boolean
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
        socket.write(framed(utf8(JSON.stringify({ op: 'hello', id: 0 }))))
        return { socket, idle: load(socket, (place) => framesOf(setup, first, place)) }
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

/** Frames for partitions in turn, back to back. */
function framesOf(
  { topic, workers, direct, ...shape }: RawProducerSetup,
  first: number,
  reached: BrokerPlace | undefined,
): Buffer {
  const ring = new BatchRing(1, shape)
  const all = Array.from(workers.keys())
  const partitions = direct ? all.filter((partition) => workers[partition] === reached?.worker) : all
  const frames = Array.from({ length: batchesPerWrite }, (_, place) => {
    const partition = partitions[(first + place) % partitions.length]
    return framed(encodeProduce(place + 1, topic, partition, undefined, ring.next()))
  })
  return Buffer.concat(frames)
}

/** Writes whenever one write has been answered in full. Settles when it was stopped and everything is answered. */
function load(socket: Socket, framesFor: (reached: BrokerPlace | undefined) => Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let answered = 0
    let underWay = 0
    let frames: Buffer | undefined
    /** When the writes that are under way were made, in order. */
    const begun: number[] = []
    const write = (): void => {
      begun.push(performance.now())
      socket.write(frames as Buffer)
    }
    const reader = new StreamReader(1024 * 1024, {
      opening: () => {},
      frame: (frame) => {
        if (frame.length === 0) return
        if (frames === undefined) {
          frames = framesFor((JSON.parse(utf8Text(frame)) as { ok: { place?: BrokerPlace } }).ok.place)
          for (; underWay < writesUnderWay; underWay++) write()
          return
        }
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
