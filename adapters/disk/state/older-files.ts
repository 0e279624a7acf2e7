/**
 * Files of earlier generations of the state, to let go of once a newer generation is there. What is damaged, or holds no
 * change, may still be of use to somebody: it is kept aside.
 */
import { dirname } from 'node:path'
import type { FileSystem } from 'ratatoskr/ports'
import type { MergedCopies } from './state-copies.ts'

export class OlderFiles {
  readonly #fileSystem: FileSystem
  /** Those that are still there, and whether they are kept aside instead of removed. */
  readonly #files = new Map<string, 'remove' | 'keep'>()

  constructor(fileSystem: FileSystem) {
    this.#fileSystem = fileSystem
  }

  /** Knows of no files any more. */
  forget(): void {
    this.#files.clear()
  }

  note({ copies, batches }: MergedCopies): void {
    for (const { path, state } of copies) {
      if (state === 'missing') continue
      const keep = batches === 0 || state === 'damaged' || state === 'different'
      this.#files.set(path, keep ? 'keep' : 'remove')
    }
  }

  /** Notes a file that is of no use to anybody. */
  discard(path: string): void {
    this.#files.set(path, 'remove')
  }

  /** Lets go of them all. What cannot be done now is done the next time. */
  async clear(): Promise<void> {
    for (const [path, fate] of [...this.#files]) {
      try {
        if (fate === 'keep') await keepAside(this.#fileSystem, path)
        else await this.#fileSystem.remove(path)
        this.#files.delete(path)
      } catch {
        // It harms nobody: a newer generation is there.
      }
    }
  }
}

/** Moves a file of `state/` to `quarantine/state/`, never over one that is there. */
async function keepAside(fileSystem: FileSystem, path: string): Promise<void> {
  const directory = dirname(path)
  const quarantine = `${dirname(directory)}/quarantine`
  const aside = `${quarantine}/state`
  const name = path.slice(directory.length + 1)
  await fileSystem.makeDirectory(aside)
  const taken = new Set(await fileSystem.list(aside))
  let free = name
  for (let i = 1; taken.has(free); i++) free = `${name}.${i}`
  await fileSystem.rename(path, `${aside}/${free}`)
  for (const one of [aside, quarantine, dirname(directory), directory]) await fileSystem.syncDirectory(one)
}
