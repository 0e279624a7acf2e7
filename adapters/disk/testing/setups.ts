/** Setups of the disk stores for the contract suites: directories under the system's temporary one. */
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import type { LogStoreContext, StateStoreContext } from 'ratatoskr/contract-tests'
import { batchSizeOf, type LogId, nextOffsetOf, type Stores } from 'ratatoskr/ports'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { type DiskStorageOptions, diskStorage } from '../index.ts'
import { copyEndings } from '../state/state-copies.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'

const platform = nodePlatform({ logger: silentLogger })

/** The stores of one directory, not started. */
export const openDisk = (directory: string, options: Partial<DiskStorageOptions> = {}): Stores =>
  diskStorage({ ...options, directory }).open(platform)

export const makeDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'ratatoskr-disk-'))

/** The files of a directory with this ending, in order of their names. */
export async function filesIn(directory: string, ending: string): Promise<string[]> {
  const names = await readdir(directory)
  return names
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(directory, name))
}

/** Directories and stores of one case, and their end. */
class Bench<Part extends 'logs' | 'state'> {
  readonly #part: Part
  readonly #options: Partial<DiskStorageOptions>
  readonly #directories: string[] = []
  readonly #stores: Stores[Part][] = []
  #directory = ''

  constructor(part: Part, options: Partial<DiskStorageOptions>) {
    this.#part = part
    this.#options = options
  }

  async fresh(options: Partial<DiskStorageOptions> = this.#options): Promise<Stores[Part]> {
    this.#directory = await makeDirectory()
    this.#directories.push(this.#directory)
    return this.#openHere(options)
  }

  async reopen(damage: (directory: string) => Promise<void> = async () => undefined): Promise<Stores[Part]> {
    await this.#stores.at(-1)?.stop()
    await damage(this.#directory)
    const store = this.#openHere(this.#options)
    await store.start()
    return store
  }

  /** What the kernel has of the files is what a killed process leaves: a copy of them, while the old store lives on. */
  async crash(damage: (directory: string) => Promise<void> = async () => undefined): Promise<Stores[Part]> {
    const copy = await makeDirectory()
    this.#directories.push(copy)
    // A file under a temporary name may have its own before it is copied.
    await cp(this.#directory, copy, { recursive: true, filter: (path) => !path.endsWith('.tmp') })
    await damage(copy)
    this.#directory = copy
    const store = this.#openHere(this.#options)
    await store.start()
    return store
  }

  async bounded(bytesMax: number): Promise<Stores[Part]> {
    const store = await this.fresh({ fileSystem: new FaultyFileSystem(nodeFileSystem, bytesMax) })
    await store.start()
    return store
  }

  async teardown(): Promise<void> {
    for (const store of this.#stores) await store.stop()
    for (const directory of this.#directories) await rm(directory, { recursive: true, force: true })
  }

  #openHere(options: Partial<DiskStorageOptions>): Stores[Part] {
    const store = openDisk(this.#directory, options)[this.#part]
    this.#stores.push(store)
    return store
  }
}

/** Shortens the last file by some bytes, as a write that was cut off would. */
async function cutLastFile(directory: string, ending = '.log'): Promise<void> {
  const files = await filesIn(directory, ending)
  const last = files[files.length - 1]
  await truncate(last, (await stat(last)).size - 7)
}

/** Changes the last byte of the batch that holds `offset`. */
async function damageBatch(directory: string, offset: number): Promise<void> {
  const files = await filesIn(directory, '.log')
  const path = files.findLast((file) => Number(basename(file, '.log')) <= offset)
  if (path === undefined) throw new Error(`no segment holds offset ${offset}`)
  const bytes = await readFile(path)
  let at = 0
  while (nextOffsetOf(bytes, at) <= offset) at += batchSizeOf(bytes, at)
  bytes[at + batchSizeOf(bytes, at) - 1] ^= 1
  await writeFile(path, bytes)
}

export async function diskLogSetup(options: Partial<DiskStorageOptions> = {}): Promise<LogStoreContext> {
  const bench = new Bench('logs', options)
  return {
    subject: await bench.fresh(),
    reopen: () => bench.reopen(),
    crash: () => bench.crash(),
    tearLastBatch: ({ topicId, partition }: LogId) =>
      bench.crash((directory) => cutLastFile(join(directory, 'logs', topicId, String(partition)))),
    damageBatch: ({ topicId, partition }, offset) =>
      bench.crash((directory) => damageBatch(join(directory, 'logs', topicId, String(partition)), offset)),
    bounded: (bytesMax) => bench.bounded(bytesMax),
    teardown: () => bench.teardown(),
  }
}

export async function diskStateSetup(options: Partial<DiskStorageOptions> = {}): Promise<StateStoreContext> {
  const bench = new Bench('state', options)
  let damaged = 0
  return {
    subject: await bench.fresh(),
    reopen: () => bench.reopen(),
    crash: () => bench.crash(),
    tearLastWrite: () =>
      bench.crash(async (directory) => {
        for (const ending of copyEndings) await cutLastFile(join(directory, 'state'), ending)
      }),
    async damageCopy() {
      const ending = copyEndings[damaged++ % copyEndings.length]
      return bench.reopen(async (directory) => {
        const [path] = await filesIn(join(directory, 'state'), ending)
        const bytes = await readFile(path)
        bytes[bytes.length >> 1] ^= 1
        await writeFile(path, bytes)
      })
    },
    bounded: (bytesMax) => bench.bounded(bytesMax),
    teardown: () => bench.teardown(),
  }
}
