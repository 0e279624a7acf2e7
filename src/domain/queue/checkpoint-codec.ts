/**
 * Checkpoints as bytes. A version byte, then unsigned varints:
 *
 *     floor, epoch, delivery bound, base time
 *     number of settled runs, then of each: gap before it, length
 *     number of tried runs, then of each: gap before it, length, attempts * 2 + failing,
 *         due, first and last delivery time (0: none, otherwise one more than what they are after the base time)
 *     in version 2: number of failures, then of each: gap before it, cause, bytes of the error, and those as UTF-8
 *
 * The first gap of each list counts from the floor.
 */
import { utf8, utf8Text } from '../batch/bytes.ts'
import { RatatoskrError } from '../errors.ts'
import {
  checkpointBytesMax,
  type QueueCheckpoint,
  type StoredFailure,
  settledRunsMax,
  storedCauses,
  type TriedRun,
} from './checkpoint.ts'
import { coarsened } from './checkpoint-of-table.ts'
import { attemptsMask } from './pages.ts'

/** The second has failures; without any, the first is written. */
const versions = [1, 2]
const failureBytesMax = 32 * 1024
const settledBytesMax = checkpointBytesMax - 64 * 1024
const headerBytesMax = 1 + 6 * 8
const numberBytesMax = 8
/** Entries that one step writes. */
const entriesAtOnce = 4_096

/**
 * The bytes of a checkpoint, at most `checkpointBytesMax`. What would be more is left out so that nothing comes too early
 * and nothing that is not settled counts as settled: settled runs beyond a bound are left out, the highest first (after a
 * crash they would be delivered again); then the times of neighbours that were tried equally often become one (the
 * latest due time), and at last the attempts of the highest offsets are left out.
 */
export function encodeCheckpoint(checkpoint: QueueCheckpoint): Uint8Array {
  const steps = encodingSteps(checkpoint)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

/** As `encodeCheckpoint`, in steps of a part of a millisecond each. */
export function* encodingSteps(checkpoint: QueueCheckpoint): Generator<void, Uint8Array, undefined> {
  const { floor, epoch, deliveryBound, settled, tried } = checkpoint
  const baseMs = baseTimeOf(tried)
  const settledPart = new Part(settledBytesMax)
  let at = floor
  for (let i = 0; i < settled.length && settledPart.count < settledRunsMax; i += 2) {
    settledPart.put(settled[i] - at)
    settledPart.put(settled[i + 1] - settled[i])
    if (!settledPart.endEntry()) break
    at = settled[i + 1]
    if (settledPart.count % entriesAtOnce === 0) yield
  }
  const failures = checkpoint.failures ?? []
  const failurePart = failuresAsBytes(failures, floor)
  const bytesLeft = checkpointBytesMax - headerBytesMax - settledPart.size - failurePart.length
  let triedPart = new Part(bytesLeft)
  const isWhole = yield* addTried(triedPart, tried, floor, baseMs)
  if (!isWhole) {
    triedPart = new Part(bytesLeft)
    yield* addTried(triedPart, coarsened(tried), floor, baseMs)
  }
  const version = versions[failurePart.length === 0 ? 0 : 1]
  const head = numbers(version, floor, epoch, deliveryBound, baseMs, settledPart.count)
  const parts = [head, settledPart, numbers(triedPart.count), triedPart]
  const bytes = new Uint8Array(parts.reduce((sum, { size }) => sum + size, failurePart.length))
  let end = 0
  for (const part of parts) {
    bytes.set(part.bytes, end)
    end += part.size
  }
  bytes.set(failurePart, end)
  return bytes
}

/**
 * Reads a checkpoint.
 * @throws RTK_STORE_CORRUPT for everything that `encodeCheckpoint` does not write
 */
export function decodeCheckpoint(bytes: Uint8Array): QueueCheckpoint {
  if (bytes.length > checkpointBytesMax) throw corrupt(`it has ${bytes.length} bytes`)
  const reader = new Reader(bytes)
  const found = reader.next()
  if (!versions.includes(found)) throw corrupt(`version ${versions.join(' or ')} expected, got ${found}`)
  const floor = reader.next()
  const epoch = reader.next()
  const deliveryBound = reader.next()
  const baseMs = reader.next()
  const settled = readSettled(reader, floor)
  const tried = readTried(reader, floor, baseMs)
  const failures = found === 2 ? readFailures(reader, floor) : undefined
  if (!reader.atEnd) throw corrupt('bytes are left after its end')
  return { floor, epoch, deliveryBound, settled, tried, ...(failures !== undefined && { failures }) }
}

/** Nothing without failures; as many as there is room for. */
function failuresAsBytes(failures: readonly StoredFailure[], floor: number): Uint8Array {
  const texts: Uint8Array[] = []
  const entries: Part[] = []
  let size = 8
  let at = floor
  for (const { offset, cause, error } of failures) {
    if (offset < at) continue // of what the group has left behind
    const text = utf8(error)
    const entry = numbers(offset - at, storedCauses.indexOf(cause) + 1, text.length)
    size += entry.size + text.length
    if (size > failureBytesMax) break
    entries.push(entry)
    texts.push(text)
    at = offset + 1
  }
  if (entries.length === 0) return new Uint8Array(0)
  const count = numbers(entries.length)
  const bytes = new Uint8Array(size)
  bytes.set(count.bytes, 0)
  let end = count.size
  for (const [i, entry] of entries.entries()) {
    bytes.set(entry.bytes, end)
    bytes.set(texts[i], end + entry.size)
    end += entry.size + texts[i].length
  }
  return bytes.subarray(0, end)
}

function* addTried(
  part: Part,
  tried: readonly TriedRun[],
  floor: number,
  baseMs: number,
): Generator<void, boolean, undefined> {
  const after = (timeMs: number): number => (timeMs === 0 ? 0 : timeMs - baseMs + 1)
  let at = floor
  for (const { from, to, attempts, failing, dueMs, firstAtMs, lastAtMs } of tried) {
    const flags = attempts * 2 + (failing ? 1 : 0)
    part.put(from - at)
    part.put(to - from)
    part.put(flags)
    part.put(after(dueMs))
    part.put(after(firstAtMs))
    part.put(after(lastAtMs))
    if (!part.endEntry()) return false
    if (part.count % entriesAtOnce === 0) yield
    at = to
  }
  return true
}

/** A few numbers, as one entry. */
function numbers(...values: readonly number[]): Part {
  const part = new Part(headerBytesMax)
  for (const value of values) part.put(value)
  part.endEntry()
  return part
}

function baseTimeOf(tried: readonly TriedRun[]): number {
  let baseMs = Number.POSITIVE_INFINITY
  for (const { dueMs, firstAtMs, lastAtMs } of tried) {
    if (dueMs > 0 && dueMs < baseMs) baseMs = dueMs
    if (firstAtMs > 0 && firstAtMs < baseMs) baseMs = firstAtMs
    if (lastAtMs > 0 && lastAtMs < baseMs) baseMs = lastAtMs
  }
  return baseMs === Number.POSITIVE_INFINITY ? 0 : baseMs
}

function readSettled(reader: Reader, floor: number): number[] {
  const count = reader.next()
  if (count > settledRunsMax) throw corrupt(`it has ${count} settled runs`)
  const settled: number[] = []
  let at = floor
  for (let i = 0; i < count; i++) {
    const from = safe(at + reader.next())
    at = safe(from + positive(reader.next()))
    settled.push(from, at)
  }
  return settled
}

function readTried(reader: Reader, floor: number, baseMs: number): TriedRun[] {
  const count = reader.next()
  const tried: TriedRun[] = []
  const time = (): number => {
    const after = reader.next()
    return after === 0 ? 0 : safe(baseMs + after - 1)
  }
  let at = floor
  for (let i = 0; i < count; i++) {
    const from = safe(at + reader.next())
    at = safe(from + positive(reader.next()))
    const flags = reader.next()
    if (flags === 0 || flags > attemptsMask * 2 + 1) throw corrupt(`attempts ${flags} in it`)
    const [dueMs, firstAtMs, lastAtMs] = [time(), time(), time()]
    const attempts = Math.floor(flags / 2)
    tried.push({ from, to: at, attempts, failing: flags % 2 === 1, dueMs, firstAtMs, lastAtMs })
  }
  return tried
}

function readFailures(reader: Reader, floor: number): StoredFailure[] {
  const failures: StoredFailure[] = []
  let at = floor
  const count = reader.next()
  if (count === 0) throw corrupt('it says that it has failures, and has none')
  for (let left = count; left > 0; left--) {
    const offset = safe(at + reader.next())
    const cause = storedCauses[reader.next() - 1]
    if (cause === undefined) throw corrupt('a failure in it has no cause')
    failures.push({ offset, cause, error: utf8Text(reader.bytes(reader.next())) })
    at = offset + 1
  }
  return failures
}

/** Entries of varints, up to a number of bytes. */
class Part {
  count = 0
  size = 0
  readonly #sizeMax: number
  #end = 0
  #buffer = new Uint8Array(256)

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.size)
  }

  /** Writes a number of the entry that is being written. */
  put(value: number): void {
    if (this.#buffer.length < this.#end + numberBytesMax) {
      const grown = new Uint8Array(this.#buffer.length * 2)
      grown.set(this.#buffer)
      this.#buffer = grown
    }
    const buffer = this.#buffer
    let at = this.#end
    let rest = value
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 0x80)) buffer[at++] = (rest % 0x80) | 0x80
    for (; rest >= 0x80; rest >>>= 7) buffer[at++] = (rest & 0x7f) | 0x80
    buffer[at++] = rest
    this.#end = at
  }

  /** Ends the entry. @returns false, and it is not there, when there is no room for it */
  endEntry(): boolean {
    if (this.#end > this.#sizeMax) {
      this.#end = this.size
      return false
    }
    this.size = this.#end
    this.count++
    return true
  }
}

class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  next(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw corrupt('it ends too early')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return safe(value)
    }
    throw corrupt('a number in it is too long')
  }

  bytes(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw corrupt('it ends too early')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}

function safe(value: number): number {
  if (value <= Number.MAX_SAFE_INTEGER) return value
  throw corrupt('a number in it is too large')
}

function positive(value: number): number {
  if (value > 0) return value
  throw corrupt('a run in it is empty')
}

const corrupt = (what: string): RatatoskrError =>
  new RatatoskrError('RTK_STORE_CORRUPT', `the stored checkpoint of a queue group cannot be read: ${what}`)
