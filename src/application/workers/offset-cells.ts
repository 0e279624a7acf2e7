/**
 * Where a partition stands, in memory that all workers share: its owner writes, everyone reads without asking. A reader
 * never sees a moment in which the parts do not fit together that would matter: offsets only grow while a partition is
 * online, and the end is written before what is stable.
 */
import type { PartitionDescription } from '../../domain/topic.ts'
import type { LogOffsets } from '../partitions/log-offsets.ts'

const [startCell, stableCell, endCell, sizeCell, stateCell] = [0, 1, 2, 3, 4]
const cellCount = 5
const states: readonly PartitionDescription['state'][] = ['recovering', 'online', 'failed']

/** Where a partition stands, at one moment. */
export interface Standing extends Omit<LogOffsets, 'damaged'> {
  readonly state: PartitionDescription['state']
}

export const newCells = (): SharedArrayBuffer => new SharedArrayBuffer(cellCount * 8)

export class OffsetCells {
  readonly #cells: BigInt64Array

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new BigInt64Array(memory)
  }

  read(): Standing {
    const cells = this.#cells
    return {
      startOffset: Number(Atomics.load(cells, startCell)),
      stableOffset: Number(Atomics.load(cells, stableCell)),
      endOffset: Number(Atomics.load(cells, endCell)),
      sizeBytes: Number(Atomics.load(cells, sizeCell)),
      state: this.state,
    }
  }

  get state(): Standing['state'] {
    return states[Number(Atomics.load(this.#cells, stateCell))]
  }

  write({ startOffset, stableOffset, endOffset, sizeBytes, state }: Standing): void {
    const cells = this.#cells
    Atomics.store(cells, startCell, BigInt(startOffset))
    Atomics.store(cells, endCell, BigInt(endOffset))
    Atomics.store(cells, stableCell, BigInt(stableOffset))
    Atomics.store(cells, sizeCell, BigInt(sizeBytes))
    this.writeState(state)
  }

  writeState(state: Standing['state']): void {
    Atomics.store(this.#cells, stateCell, BigInt(states.indexOf(state)))
  }
}
