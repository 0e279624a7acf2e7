/**
 * Where damaged segments go when their log lets go of them, and whole batches behind the end at which a log was cut: not
 * deleted, for somebody may want to look into them, or mend them. Nothing here is ever read, and nothing but its owner removes it.
 */
import { basename } from 'node:path'
import type { DiskFile, FileSystem } from 'ratatoskr/ports'
import { allocate, writeAll } from '../files/file-system.ts'

const blockBytes = 1024 * 1024

export class Quarantine {
  readonly #fileSystem: FileSystem
  readonly #dataDirectory: string

  constructor(fileSystem: FileSystem, dataDirectory: string) {
    this.#fileSystem = fileSystem
    this.#dataDirectory = dataDirectory
  }

  /**
   * Keeps a copy of bytes that are about to be cut off a file `<topic id>/<partition>/<name>`, as
   * `<topic id>-<partition>-<name>.cut-at-<position>`; durable when it returns. One that is there already stays.
   */
  async keepCut(
    path: string,
    logKey: string,
    from: DiskFile,
    position: number,
    sizeBytes: number,
  ): Promise<void> {
    const directory = `${this.#dataDirectory}/quarantine`
    await this.#fileSystem.makeDirectory(directory)
    const copy = `${directory}/${logKey.replace('/', '-')}-${basename(path)}.cut-at-${position}`
    if ((await this.#fileSystem.sizeOf(copy).catch(() => -1)) === sizeBytes) return
    const temporary = `${copy}.tmp`
    try {
      const file = await this.#fileSystem.open(temporary, 'create')
      try {
        const block = allocate(Math.min(blockBytes, sizeBytes))
        for (let done = 0; done < sizeBytes; ) {
          const read = await from.read(
            block.subarray(0, Math.min(block.length, sizeBytes - done)),
            position + done,
          )
          if (read === 0) break
          await writeAll(file, block.subarray(0, read), done)
          done += read
        }
        await file.sync()
      } finally {
        await file.close()
      }
      await this.#fileSystem.rename(temporary, copy)
    } catch (error) {
      await this.#fileSystem.remove(temporary).catch(() => undefined)
      throw error
    }
    await this.#fileSystem.syncDirectory(directory)
    await this.#fileSystem.syncDirectory(this.#dataDirectory)
  }

  /** Moves a file `<topic id>/<partition>/<name>` here, as `<topic id>-<partition>-<name>`; durable with its old directory. */
  async take(path: string, logKey: string): Promise<void> {
    const directory = `${this.#dataDirectory}/quarantine`
    await this.#fileSystem.makeDirectory(directory)
    const names = await this.#fileSystem.list(directory)
    const name = `${logKey.replace('/', '-')}-${basename(path)}`
    let free = name
    for (let copy = 2; names.includes(free); copy++) free = `${name}.${copy}`
    await this.#fileSystem.rename(path, `${directory}/${free}`)
    await this.#fileSystem.syncDirectory(directory)
    await this.#fileSystem.syncDirectory(this.#dataDirectory)
  }
}
