/** The descriptors that the programs of one simulated disk hold. */
import type { OpenMode } from 'ratatoskr/ports'
import { type DiskCall, systemError } from './faults.ts'

interface OpenFile {
  /** The file's number in the tree: a name may go meanwhile, or come to stand for another file. */
  readonly id: number
  readonly mode: OpenMode
}

export class Descriptors {
  readonly #max: number
  readonly #files = new Map<number, OpenFile>()
  #last = 0

  /** @param max that may be open at once */
  constructor(max = Number.POSITIVE_INFINITY) {
    this.#max = max
  }

  get count(): number {
    return this.#files.size
  }

  /** Files that are open, some of them perhaps more than once. */
  ids(): number[] {
    return [...this.#files.values()].map(({ id }) => id)
  }

  /** @throws EMFILE when no more may be open */
  assertRoom(): void {
    if (this.#files.size >= this.#max) throw systemError('EMFILE', 'open')
  }

  /** @returns a number that no other descriptor had before */
  add(id: number, mode: OpenMode): number {
    this.#files.set(++this.#last, { id, mode })
    return this.#last
  }

  find(descriptor: number): OpenFile | undefined {
    return this.#files.get(descriptor)
  }

  /** @throws EBADF when it is not open */
  get(descriptor: number, call: DiskCall): OpenFile {
    const file = this.#files.get(descriptor)
    if (file === undefined) throw systemError('EBADF', call)
    return file
  }

  delete(descriptor: number): void {
    this.#files.delete(descriptor)
  }
}
