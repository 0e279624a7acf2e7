/**
 * Space that is kept for the moment when there is none: a file of written bytes. Deleting must work on a full disk, and yet
 * a deletion is first put on record, which takes space itself; then this file makes way. What would take the space before
 * the deletion does, publishers above all, is refused until the reserve is back: so room that is freed goes to the reserve first.
 */
import type { FileSystem } from 'ratatoskr/ports'
import { writeAll } from './file-system.ts'

export class SpaceReserve {
  readonly #fileSystem: FileSystem
  readonly #path: string
  readonly #sizeBytes: number
  #state: 'missing' | 'held' | 'given' = 'missing'
  /** What the space was given for is still being written. */
  #spending = false
  /** Writes that are under way and may take space. */
  #writers = 0
  #onIdle: (() => void) | undefined
  #taking: Promise<boolean> | undefined

  constructor(fileSystem: FileSystem, path: string, sizeBytes: number) {
    this.#fileSystem = fileSystem
    this.#path = path
    this.#sizeBytes = sizeBytes
  }

  get isHeld(): boolean {
    return this.#state === 'held'
  }

  /**
   * Asks for leave to write what takes space; with it, call `leave` after the write.
   * @returns false while room is wanted for the reserve
   */
  async enter(): Promise<boolean> {
    if (!(await this.isAffordable()) || this.#state === 'given') return false
    this.#writers++
    return true
  }

  leave(): void {
    this.#writers--
    if (this.#writers === 0) this.#onIdle?.()
  }

  /** True when what takes space may be written: the reserve was not given away, or is back. */
  async isAffordable(): Promise<boolean> {
    return this.#state !== 'given' || (!this.#spending && (await this.take()))
  }

  /** Takes the space, if there is room. @returns false when there is none */
  take(): Promise<boolean> {
    if (this.#state === 'held') return Promise.resolve(true)
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined
    })
    return this.#taking
  }

  /**
   * Gives the space away for the writes of `spend`, when nothing else is being written any more.
   * @returns false when there was nothing to give
   */
  async give(spend: () => Promise<void>): Promise<boolean> {
    if (this.#state !== 'held') return false
    this.#state = 'given'
    this.#spending = true
    try {
      if (this.#writers > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
      await this.#fileSystem.remove(this.#path).catch(() => undefined)
      await spend()
    } finally {
      this.#spending = false
    }
    return true
  }

  async #take(): Promise<boolean> {
    try {
      const size = await this.#fileSystem.sizeOf(this.#path).catch(() => 0)
      if (size !== this.#sizeBytes) await this.#write()
      this.#state = 'held'
      return true
    } catch {
      await this.#fileSystem.remove(this.#path).catch(() => undefined)
      return false
    }
  }

  /** Bytes that differ: a file system that compresses or leaves out zeros would keep nothing for us. */
  async #write(): Promise<void> {
    const bytes = new Uint8Array(this.#sizeBytes)
    let noise = 1
    for (let i = 0; i < bytes.length; i++) {
      noise = (Math.imul(noise, 1_103_515_245) + 12_345) | 0
      bytes[i] = noise >>> 16
    }
    const file = await this.#fileSystem.open(this.#path, 'create')
    try {
      await writeAll(file, bytes, 0)
      await file.sync()
    } finally {
      await file.close()
    }
  }
}
