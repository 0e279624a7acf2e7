/**
 * What one end of a link says, gathered within a turn: it crosses as one message, with the bytes of small batches in one
 * buffer; a large one goes by itself, in a buffer of its own. Appends and their answers are rows of numbers, for they are said
 * a hundred thousand times a second.
 */
import type { MeshChannel, MeshItem } from './mesh-channel.ts'

const noBytes = new Uint8Array(0)
/** Rows of numbers: kind, id, and of an append handle, records, level, start and length of the batch; of an answer the offset. */
const appendRow = 0
export const offsetRow = 1
export const rowNumbers = 7
/** Bytes that one message carries, about: one that is larger is sent before the turn ends. */
const messageBytesMax = 4 * 1024 * 1024
/** Bytes that go by themselves: to gather them with others would copy them once more, and who keeps them would keep the others. */
const aloneBytesMin = 64 * 1024

export class MeshOutbox {
  readonly #channel: MeshChannel
  #items: (MeshItem | number)[] = []
  #numbers = new Float64Array(64 * rowNumbers)
  #numberCount = 0
  /** Bytes of the items, of which the first `#sizeBytes` are taken. */
  #bytes = noBytes
  #sizeBytes = 0
  /** Bytes that go by themselves. */
  #alone: Uint8Array<ArrayBuffer> | undefined
  #closed = false

  constructor(channel: MeshChannel) {
    this.#channel = channel
  }

  /** @param bytes copied before this returns; where they begin and how many they are follows the item */
  say(item: MeshItem, bytes: Uint8Array | undefined): void {
    const start = bytes === undefined ? 0 : this.#copy(bytes)
    this.#beginTurn()
    this.#items.push(bytes === undefined ? item : [...item, start, bytes.length])
    this.#flushWhenFull()
  }

  /** @param batch copied before this returns */
  append(id: number, handle: number, recordCount: number, durability: number, batch: Uint8Array): void {
    const start = this.#copy(batch)
    this.#beginTurn()
    this.#row(appendRow, id, handle, recordCount, durability, start, batch.length)
    this.#flushWhenFull()
  }

  appended(id: number, offset: number): void {
    this.#beginTurn()
    this.#row(offsetRow, id, offset, 0, 0, 0, 0)
  }

  /** Sends what was said, without waiting for the turn to end. */
  readonly flush = (): void => {
    const items = this.#items
    if (items.length === 0 || this.#closed) return
    // What is gathered is copied into memory of its very size: the memory it is gathered in is used again and again.
    const gathered = this.#sizeBytes === 0 ? undefined : this.#bytes.slice(0, this.#sizeBytes)
    const bytes = (this.#alone ?? gathered)?.buffer
    this.#alone = undefined
    const numbers = this.#numberCount === 0 ? undefined : this.#numbers.slice(0, this.#numberCount)
    this.#items = []
    this.#numberCount = 0
    this.#sizeBytes = 0
    this.#channel.post({ items, numbers, bytes })
  }

  /** From here on nothing is sent. */
  close(): void {
    this.#closed = true
  }

  #beginTurn(): void {
    if (this.#items.length === 0) this.#channel.atTurnEnd(this.flush)
  }

  /** Adds a row of numbers, and keeps its place among what else is said. */
  #row(
    kind: number,
    id: number,
    third: number,
    fourth: number,
    fifth: number,
    sixth: number,
    seventh: number,
  ): void {
    let numbers = this.#numbers
    const at = this.#numberCount
    if (at === numbers.length) {
      numbers = new Float64Array(2 * at)
      numbers.set(this.#numbers)
      this.#numbers = numbers
    }
    numbers[at] = kind
    numbers[at + 1] = id
    numbers[at + 2] = third
    numbers[at + 3] = fourth
    numbers[at + 4] = fifth
    numbers[at + 5] = sixth
    numbers[at + 6] = seventh
    this.#numberCount = at + rowNumbers
    const last = this.#items.length - 1
    const rows = this.#items[last]
    if (typeof rows === 'number') this.#items[last] = rows + 1
    else this.#items.push(1)
  }

  /** Gathers bytes, before what refers to them is said. @returns where they begin in the message */
  #copy(bytes: Uint8Array): number {
    const start = this.#sizeBytes
    if (bytes.length >= aloneBytesMin) {
      this.flush()
      this.#alone = new Uint8Array(bytes)
      return 0
    }
    const sizeBytes = this.#sizeBytes + bytes.length
    if (sizeBytes > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(sizeBytes, 2 * this.#bytes.length))
      larger.set(this.#bytes.subarray(0, this.#sizeBytes))
      this.#bytes = larger
    }
    this.#bytes.set(bytes, start)
    this.#sizeBytes = sizeBytes
    return start
  }

  #flushWhenFull(): void {
    if (this.#alone !== undefined || this.#sizeBytes >= messageBytesMax) this.flush()
  }
}
