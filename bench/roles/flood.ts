/**
 * Offers small batches by a schedule, whatever becomes of those before: far more than a broker takes. What a connection cannot
 * take any more, because the broker does not read on, is held back and counted; answers are counted as stored or refused.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { encodeOpening, encodeProduce, StreamReader, utf8, utf8Text } from 'ratatoskr/ports'
import { GrowingSamples, type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { BatchRing } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'
import { framed } from '../harness/frames.ts'

export interface FloodSetup {
  readonly url: string
  readonly topic: string
  readonly connections: number
  readonly payloadBytes: number
  readonly recordsPerBatch: number
  /** Messages that are offered each second. */
  readonly perSecond: number
}

/** Since the window began. */
export interface FloodWindow {
  readonly offered: number
  readonly heldBack: number
  readonly refused: number
  /** From a write to the refusal of a batch in it, the time in the connection's own queue included. */
  readonly refusedMs: Latency
}

const batchesPerWrite = 16
/** Of a connection: what waits here besides what the system's own buffers take. */
const queuedBytesMax = 64 * 1024
/** The first byte of an answer that says where a batch is stored. */
const produced = 2
const tickMs = 1

let offered = 0
let heldBack = 0
let refused = 0
let refusedMs = new GrowingSamples()
let failure: unknown

serveRole({
  start: async (setup: FloodSetup) => {
    const { hostname, port } = new URL(setup.url)
    const { topic, recordsPerBatch, perSecond, connections, ...shape } = setup
    const ring = new BatchRing(1, { ...shape, recordsPerBatch })
    const frames = Buffer.concat(
      Array.from({ length: batchesPerWrite }, (_, place) =>
        framed(encodeProduce(place + 1, topic, 0, undefined, ring.next())),
      ),
    )
    const lanes = await Promise.all(
      Array.from({ length: connections }, () => openLane(hostname, Number(port))),
    )
    flood(lanes, frames, batchesPerWrite * recordsPerBatch, perSecond)
  },
  windowBegin: () => {
    offered = 0
    heldBack = 0
    refused = 0
    refusedMs = new GrowingSamples()
  },
  window: (): FloodWindow => {
    if (failure !== undefined) throw failure
    return { offered, heldBack, refused, refusedMs: latencyOf(refusedMs.values) }
  },
})

interface Lane {
  readonly socket: Socket
  /** When the writes that are not answered in full were made, in order. */
  readonly begunMs: number[]
}

async function openLane(host: string, port: number): Promise<Lane> {
  const socket = connect({ host, port, noDelay: true })
  await once(socket, 'connect')
  const lane: Lane = { socket, begunMs: [] }
  let answered = 0
  const ready = Promise.withResolvers<void>()
  const reader = new StreamReader(1024 * 1024, {
    opening: () => {},
    frame: (frame) => {
      if (frame.length === 0) return
      if (answered++ === 0) {
        ready.resolve() // that to the hello
        return
      }
      if (frame[0] !== produced) refusal(frame, lane.begunMs[0])
      if ((answered - 1) % batchesPerWrite === 0) lane.begunMs.shift()
    },
  })
  socket.on('data', (chunk) => reader.push(chunk as Buffer))
  socket.on('error', (error) => {
    failure ??= error
  })
  socket.on('close', () => {
    failure ??= new Error('the broker closed a connection')
  })
  socket.write(encodeOpening(1024 * 1024))
  socket.write(framed(utf8(JSON.stringify({ op: 'hello', id: 0 }))))
  await ready.promise
  return lane
}

function refusal(frame: Uint8Array, begunMs: number): void {
  const text = utf8Text(frame)
  if (!text.includes('RTK_OVERLOADED')) failure ??= new Error(text)
  refused++
  refusedMs.add(performance.now() - begunMs)
}

function flood(lanes: readonly Lane[], frames: Buffer, messagesPerWrite: number, perSecond: number): void {
  const beginMs = performance.now()
  let made = 0
  const tick = (): void => {
    const due = ((performance.now() - beginMs) * perSecond) / 1_000 / messagesPerWrite
    for (; made < due; made++) {
      const { socket, begunMs } = lanes[made % lanes.length]
      offered += messagesPerWrite
      if (socket.writableLength > queuedBytesMax) heldBack += messagesPerWrite
      else {
        begunMs.push(performance.now())
        socket.write(frames)
      }
    }
    setTimeout(tick, tickMs)
  }
  tick()
}
