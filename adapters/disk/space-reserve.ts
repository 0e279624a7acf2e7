/**
 * Space that is kept for the moment when there is none: a file of written bytes. Deleting must work on a full disk, and yet
 * a deletion is first put on record, which takes space itself; then this file makes way. It is written again when there is
 * room.
 */
import type { FileSystem } from 'ratatoskr/ports'
import { writeAll } from './file-system.ts'

export class SpaceReserve {
  readonly #fileSystem: FileSystem
  readonly #path: string
  readonly #sizeBytes: number
  #held = false

  constructor(fileSystem: FileSystem, path: string, sizeBytes: number) {
    this.#fileSystem = fileSystem
    this.#path = path
    this.#sizeBytes = sizeBytes
  }

  get isHeld(): boolean {
    return this.#held
  }

  /** Takes the space, if there is room; without any it is tried again later. */
  async take(): Promise<void> {
    if (this.#held) return
    try {
      const size = await this.#fileSystem.sizeOf(this.#path).catch(() => 0)
      if (size !== this.#sizeBytes) await this.#write()
      this.#held = true
    } catch {
      await this.#fileSystem.remove(this.#path).catch(() => undefined)
    }
  }

  /** Gives the space away. @returns false when there was none, or it could not be given */
  async give(): Promise<boolean> {
    if (!this.#held) return false
    this.#held = false
    return this.#fileSystem.remove(this.#path).then(
      () => true,
      () => false,
    )
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
