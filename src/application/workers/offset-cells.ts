/**
 * Where a partition stands, in memory that all workers share: its owner writes, everyone reads without asking.
 *
 * Lock-free: nobody waits for anybody. There are two places and a version that says which one counts: the writer fills the other
 * place, and publishes it by storing the next version last. A reader takes what it has read when the version is still the same
 * afterwards; otherwise the writer has gone on meanwhile, and it reads again. So it sees what was written at one moment as a whole,
 * never older than what it has seen before, also when the writer ends in the middle of writing. One writes at a time: the
 * owner, and for an owner that has ended, the controller.
 */
import type { PartitionDescription } from '../../domain/topic.ts'
import type { LogOffsets } from '../partitions/log-offsets.ts'

/** Two cells of 32 bits for a number, the lower half first: cells of 64 bits would make an object of each. */
const [startCell, stableCell, endCell, sizeCell, stateCell] = [0, 2, 4, 6, 8]
const placeCells = 9
const versionCell = 0
const firstPlace = 1
const cellCount = firstPlace + 2 * placeCells
const upperHalf = 2 ** 32
const states: readonly PartitionDescription['state'][] = ['recovering', 'online', 'failed']

/** Where a partition stands, at one moment. */
export interface Standing extends Omit<LogOffsets, 'damaged'> {
  readonly state: PartitionDescription['state']
}

/** Each access to the shared memory; a test steps between them. */
export interface CellAccess {
  load(cells: Int32Array, cell: number): number
  store(cells: Int32Array, cell: number, value: number): number
}

export const newCells = (): SharedArrayBuffer =>
  new SharedArrayBuffer(cellCount * Int32Array.BYTES_PER_ELEMENT)

export class OffsetCells {
  readonly #cells: Int32Array
  readonly #access: CellAccess

  constructor(memory: SharedArrayBuffer, access: CellAccess = Atomics) {
    this.#cells = new Int32Array(memory)
    this.#access = access
  }

  read(): Standing {
    for (;;) {
      const version = this.#version
      const place = placeOf(version)
      const standing: Standing = {
        startOffset: this.#number(place + startCell),
        stableOffset: this.#number(place + stableCell),
        endOffset: this.#number(place + endCell),
        sizeBytes: this.#number(place + sizeCell),
        state: states[this.#access.load(this.#cells, place + stateCell)],
      }
      if (this.#version === version) return standing
    }
  }

  get state(): Standing['state'] {
    for (;;) {
      const version = this.#version
      const state = states[this.#access.load(this.#cells, placeOf(version) + stateCell)]
      if (this.#version === version) return state
    }
  }

  write({ startOffset, stableOffset, endOffset, sizeBytes, state }: Standing): void {
    const version = (this.#version + 1) | 0
    const place = placeOf(version)
    this.#setNumber(place + startCell, startOffset)
    this.#setNumber(place + stableCell, stableOffset)
    this.#setNumber(place + endCell, endOffset)
    this.#setNumber(place + sizeCell, sizeBytes)
    this.#access.store(this.#cells, place + stateCell, states.indexOf(state))
    this.#access.store(this.#cells, versionCell, version)
  }

  writeState(state: Standing['state']): void {
    this.write({ ...this.read(), state })
  }

  get #version(): number {
    return this.#access.load(this.#cells, versionCell)
  }

  #number(cell: number): number {
    const lower = this.#access.load(this.#cells, cell)
    return (lower >>> 0) + this.#access.load(this.#cells, cell + 1) * upperHalf
  }

  #setNumber(cell: number, value: number): void {
    this.#access.store(this.#cells, cell, value | 0)
    this.#access.store(this.#cells, cell + 1, Math.floor(value / upperHalf))
  }
}

const placeOf = (version: number): number => firstPlace + (version & 1) * placeCells
