/**
 * The data directories that the corruption battery damages: written by the real store on a disk in memory, once for each
 * process, and then forked for each mutation.
 */
import { gzipSync } from 'node:zlib'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import {
  BatchBuilder,
  baseOffsetOf,
  batchSizeOf,
  crcStart,
  type Header,
  type LogId,
  maxTimestampOf,
  nextOffsetOf,
  type PartitionLog,
  type StateStore,
  type Stores,
  stampBatch,
  utf8,
} from 'ratatoskr/ports'
import { seededDraw } from '../../seeded-draw.ts'
import { type SimulatedDisk, simulatedDisk } from '../../simulation/index.ts'

export const root = '/data'
export const platform = nodePlatform({ logger: silentLogger })
const timestampMs = 1_700_000_000_000

/** A batch that was acknowledged, and where it lies. */
export interface StoredBatch {
  readonly from: number
  readonly to: number
  readonly maxTimestampMs: number
  readonly bytes: Uint8Array
  readonly file: string
  readonly position: number
}

export interface StoredLog {
  readonly id: LogId
  readonly segmentBytes: number
  readonly startOffset: number
  readonly endOffset: number
  /** In order; those that were let go of are not among them. */
  readonly batches: readonly StoredBatch[]
}

/** A data directory as nothing has damaged it. */
export interface Image {
  readonly name: 'killed' | 'torn' | 'stopped'
  readonly disk: SimulatedDisk
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly logs: readonly StoredLog[]
  /** Key, version and value of each entry, as one text. */
  readonly state: string
}

interface LogPlan {
  readonly id: LogId
  readonly segmentBytes: number
  readonly batches: number
  /** Makes the batch of this place; its base offset is stamped afterwards. */
  make(place: number, random: () => number): Uint8Array
  /** Done with the log when all batches are in it. */
  finish?(log: PartitionLog): Promise<void>
}

const topic = (digit: string): string => `0${digit}0${digit}0${digit}0${digit}-1111-4111-8111-aaaaaaaaaaaa`

export const openStores = (disk: SimulatedDisk): Stores =>
  diskStorage({ directory: root, fileSystem: disk, hotBytesMax: 1, reserveBytes: 512 }).open(platform)

function randomBytes(length: number, random: () => number): Uint8Array {
  return Uint8Array.from({ length }, () => Math.floor(random() * 256))
}

interface Sample {
  readonly count: number
  readonly payloadBytes: number
  readonly keys?: boolean
  readonly gzip?: boolean
  readonly payload?: Uint8Array
  readonly place: number
}

function batchOf(
  { count, payloadBytes, keys, gzip, payload, place }: Sample,
  random: () => number,
): Uint8Array {
  const compression = gzip === true ? { id: 1, compress: (bytes: Uint8Array) => gzipSync(bytes) } : undefined
  const builder = new BatchBuilder({ checksum: platform.checksum, compression })
  for (let i = 0; i < count; i++) {
    const headers: Header[] = keys === true ? [['trace', randomBytes(9, random)]] : []
    builder.add({
      payload: payload ?? randomBytes(payloadBytes, random),
      timestampMs: timestampMs + place * 1000 + i,
      headers,
      ...(keys === true && { key: utf8(`key-${i}`) }),
    })
  }
  return builder.build()
}

/** A batch with the attribute of a control batch, as transactions write them. */
function controlBatch(place: number, random: () => number): Uint8Array {
  const batch = batchOf({ count: 1, payloadBytes: 6, keys: true, place }, random)
  const view = new DataView(batch.buffer, batch.byteOffset)
  view.setInt16(21, 0x30)
  view.setUint32(17, platform.checksum(batch.subarray(crcStart)))
  return batch
}

/** A batch whose payload holds whole valid batches, with offsets that would fit there. */
function batchAround(offset: number, place: number, random: () => number): Uint8Array {
  const inner = [offset, offset + 1, offset + 2].map((base) => {
    const batch = batchOf({ count: 1, payloadBytes: 40 + Math.floor(random() * 60), place }, random)
    stampBatch(batch, base, 0)
    return batch
  })
  const size = inner.reduce((sum, { length }) => sum + length, 0)
  // Nothing of it is zero, so that a file that was cut does not become whole again when it grows by zeros.
  const payload = new Uint8Array(size + 50).fill(0x5a)
  let at = 20
  for (const batch of inner) {
    payload.set(batch, at)
    at += batch.length
  }
  return batchOf({ count: 1, payloadBytes: 0, payload, place }, random)
}

const plans: readonly LogPlan[] = [
  {
    id: { topicId: topic('a'), partition: 0 },
    segmentBytes: 1500,
    batches: 40,
    make: (place, random) =>
      batchOf({ count: 1 + (place % 4), payloadBytes: Math.floor(random() * 90), place }, random),
  },
  {
    id: { topicId: topic('a'), partition: 1 },
    segmentBytes: 1024 * 1024,
    batches: 50,
    make: (place, random) =>
      place % 6 === 5
        ? controlBatch(place, random)
        : batchOf(
            {
              count: 1 + (place % 3),
              payloadBytes: 60 + Math.floor(random() * 200),
              keys: true,
              gzip: place % 4 === 1,
              place,
            },
            random,
          ),
  },
  {
    id: { topicId: topic('b'), partition: 7 },
    segmentBytes: 4096,
    batches: 30,
    make: (place, random) =>
      batchOf(
        { count: place === 12 ? 40 : 2, payloadBytes: place === 12 ? 150 : 120, keys: true, place },
        random,
      ),
    async finish(log) {
      await log.truncateBefore(15)
      await log.truncateAfter(log.endOffset - 4)
    },
  },
]

/** Every third batch of this log holds batches in its payload; small segments, of which the last is being written. */
const nestedLog: LogId = { topicId: topic('c'), partition: 2 }

async function fill(stores: Stores, random: () => number): Promise<void> {
  const { logs, state } = stores
  await state.start()
  await logs.start()
  for (const { id, segmentBytes, batches, make, finish } of plans) {
    const log = await logs.openLog(id, { segmentBytes })
    for (let place = 0; place < batches; place++) await append(log, make(place, random), place)
    await finish?.(log)
  }
  const nested = await logs.openLog(nestedLog, { segmentBytes: 3000 })
  for (let place = 0; place < 24; place++) {
    const batch =
      place % 3 === 1
        ? batchAround(nested.endOffset, place, random)
        : batchOf({ count: 1, payloadBytes: 80, place }, random)
    await append(nested, batch, place)
  }
  await fillState(state, random)
}

async function append(log: PartitionLog, batch: Uint8Array, place: number): Promise<void> {
  const { endOffset } = log
  stampBatch(batch, endOffset, 0)
  await log.append(batch, endOffset, nextOffsetOf(batch) - endOffset, place % 5 === 0 ? 'fsync' : 'os')
}

async function fillState(state: StateStore, random: () => number): Promise<void> {
  for (let i = 0; i < 40; i++) {
    await state.put(`offsets/${i % 13}`, randomBytes(8 + (i % 50), random))
    if (i % 11 === 10) await state.delete(`offsets/${i % 13}`)
    if (i % 7 === 0) {
      await state.putMany([
        { key: 'topics/one', value: randomBytes(30, random) },
        { key: 'topics/two', value: randomBytes(200, random) },
      ])
    }
  }
}

export async function stateText(state: StateStore): Promise<string> {
  const lines: string[] = []
  for await (const { key, value, version } of state.list('')) {
    lines.push(`${key} ${version} ${Buffer.from(value).toString('hex')}`)
  }
  return lines.join('\n')
}

/**
 * Lets a sync of the state fail, so that it is written anew, and takes the disk while both generations are on it: before the
 * change that caused it is there.
 */
async function withTwoGenerations(disk: SimulatedDisk, state: StateStore): Promise<Image> {
  let taken: SimulatedDisk | undefined
  disk.inject({ call: 'sync', path: /\/state\//, code: 'EIO', times: 1, dirtyPages: 'kept' })
  await state.put('offsets/1', new Uint8Array(5)).catch(() => undefined)
  const text = await stateText(state)
  disk.onCall = (call, path) => {
    if (call === 'remove' && path.startsWith(`${root}/state/`)) taken ??= disk.fork()
  }
  await state.put('offsets/2', new Uint8Array(6))
  disk.onCall = undefined
  if (taken === undefined) throw new Error('the state was not written anew: no image with two generations')
  return imageOf('killed', taken, text)
}

/** Makes the images; the same for each seed. */
export async function makeImages(seed: number): Promise<readonly Image[]> {
  const random = seededDraw(seed)
  const disk = simulatedDisk({ seed, keepTrace: false, delayTurnsMax: 0 })
  const stores = openStores(disk)
  await fill(stores, random)
  const killed = await withTwoGenerations(disk, stores.state)
  const state = await stateText(stores.state)
  await stores.logs.stop()
  await stores.state.stop()
  return [killed, await withTornEnds(killed, random), await imageOf('stopped', disk, state)]
}

/** Half of one more batch at the end of each log; that batch was not acknowledged, and holds whole batches. */
async function withTornEnds(killed: Image, random: () => number): Promise<Image> {
  const disk = killed.disk.fork()
  for (const { id, endOffset } of killed.logs) {
    const path = lastSegmentOf(killed.files.keys(), id)
    const size = killed.files.get(path)?.length ?? 0
    const batch = batchAround(endOffset, 99, random)
    stampBatch(batch, endOffset, 0)
    await writeFile(disk, path, batch.subarray(0, batch.length - 20), size)
  }
  return { ...killed, name: 'torn', disk, files: filesOf(disk) }
}

const filesOf = (disk: SimulatedDisk): ReadonlyMap<string, Uint8Array> =>
  new Map(disk.paths().map((path) => [path, disk.contents(path)] as const))

const directoryOf = ({ topicId, partition }: LogId): string => `${root}/logs/${topicId}/${partition}`

function lastSegmentOf(paths: Iterable<string>, id: LogId): string {
  const segments = [...paths].filter(
    (path) => path.startsWith(`${directoryOf(id)}/`) && path.endsWith('.log'),
  )
  return segments.sort()[segments.length - 1]
}

/** Writes into a file of a disk, or makes it. */
export async function writeFile(
  disk: SimulatedDisk,
  path: string,
  bytes: Uint8Array,
  position?: number,
): Promise<void> {
  const file = await disk.open(path, position === undefined ? 'create' : 'write')
  await file.write(bytes, position ?? 0)
  await file.close()
}

async function imageOf(name: Image['name'], disk: SimulatedDisk, state: string): Promise<Image> {
  const files = filesOf(disk)
  const stores = openStores(disk.fork())
  await stores.logs.start()
  const logs: StoredLog[] = []
  for (const { id, segmentBytes } of [...plans, { id: nestedLog, segmentBytes: 3000 }]) {
    const { startOffset, endOffset } = await stores.logs.openLog(id, { segmentBytes })
    logs.push({ id, segmentBytes, startOffset, endOffset, batches: batchesOf(files, id, endOffset) })
  }
  await stores.logs.stop()
  return { name, disk, files, logs, state }
}

/** The batches in the files of a log, one after the other. */
function batchesOf(files: ReadonlyMap<string, Uint8Array>, id: LogId, endOffset: number): StoredBatch[] {
  const batches: StoredBatch[] = []
  const paths = [...files.keys()].filter(
    (path) => path.startsWith(`${directoryOf(id)}/`) && path.endsWith('.log'),
  )
  for (const file of paths.sort()) {
    const all = files.get(file) as Uint8Array
    for (let position = 0; position < all.length && baseOffsetOf(all, position) < endOffset; ) {
      const bytes = all.slice(position, position + batchSizeOf(all, position))
      const [from, to] = [baseOffsetOf(bytes), nextOffsetOf(bytes)]
      batches.push({ from, to, maxTimestampMs: maxTimestampOf(bytes), bytes, file, position })
      position += bytes.length
    }
  }
  return batches
}
