/**
 * Where damaged segments go when their log lets go of them: not deleted, for somebody may want to look into them, or mend
 * them. Nothing here is ever read, and nothing but its owner removes it.
 */
import { basename } from 'node:path'
import type { FileSystem } from 'ratatoskr/ports'

export class Quarantine {
  readonly #fileSystem: FileSystem
  readonly #dataDirectory: string

  constructor(fileSystem: FileSystem, dataDirectory: string) {
    this.#fileSystem = fileSystem
    this.#dataDirectory = dataDirectory
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
