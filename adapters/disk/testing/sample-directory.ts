/** A small data directory with a log in several segments, for the tests of the tools: how it is used, damaged and looked at. */
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { isRatatoskrError, type LogId, type PartitionLog, type Stores, utf8 } from 'ratatoskr/ports'
import {
  diskStorage,
  type Finding,
  type RepairOptions,
  type RepairStep,
  repairDataDirectory,
  verifyDataDirectory,
} from '../index.ts'
import { filesIn, makeDirectory } from './setups.ts'

export const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const segmentBytes = 500
export const platform = nodePlatform({ logger: silentLogger })

/** Twelve batches of two records in four segments, and a state that knows the topic. */
export class SampleDirectory {
  directory = ''
  logDirectory = ''
  /** As it was written, so that it is written once. */
  #copy = ''

  async make(): Promise<void> {
    this.directory = await makeDirectory()
    this.#copy = await makeDirectory()
    this.logDirectory = join(this.directory, 'logs', id.topicId, '0')
    await this.#write()
    await cp(this.directory, this.#copy, { recursive: true })
  }

  /** Makes it again what it was. */
  async fresh(): Promise<void> {
    await rm(this.directory, { recursive: true })
    await cp(this.#copy, this.directory, { recursive: true })
  }

  async remove(): Promise<void> {
    for (const path of [this.directory, this.#copy]) await rm(path, { recursive: true, force: true })
  }

  open(): Stores {
    return diskStorage({ directory: this.directory }).open(platform)
  }

  /** Uses the log, and stops. */
  async withLog<T>(use: (log: PartitionLog) => Promise<T>): Promise<T> {
    const { logs, state } = this.open()
    await state.start()
    await logs.start()
    try {
      return await use(await logs.openLog(id, { segmentBytes }))
    } finally {
      await logs.stop()
      await state.stop()
    }
  }

  segments(): Promise<string[]> {
    return filesIn(this.logDirectory, '.log')
  }

  async verify(): Promise<Finding[]> {
    return allOf(verifyDataDirectory(this.directory, platform.checksum))
  }

  async errors(): Promise<Finding[]> {
    return (await this.verify()).filter(({ severity }) => severity === 'error')
  }

  async remarks(): Promise<string[]> {
    const found = await this.verify()
    return found
      .filter(({ severity }) => severity !== 'ok')
      .map(({ file, state }) => `${basename(file)} ${state}`)
  }

  async repair(options: Partial<RepairOptions> = {}): Promise<RepairStep[]> {
    const all = { dryRun: false, acceptLoss: false, setAside: [], ...options }
    return allOf(repairDataDirectory(this.directory, platform, all))
  }

  /** Offsets that can be read. */
  readable(): Promise<number[]> {
    return this.withLog(readableIn)
  }

  /** Everything below the directory, with its bytes. */
  async everything(): Promise<Record<string, string>> {
    const found: Record<string, string> = {}
    for (const entry of await readdir(this.directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      found[path] = entry.isFile()
        ? `${(await readFile(path)).toString('hex')} ${(await stat(path)).mtimeMs}`
        : ''
    }
    return found
  }

  async #write(): Promise<void> {
    const { logs, state } = this.open()
    await state.start()
    await state.put('topics/default/orders', utf8(JSON.stringify({ id: id.topicId })))
    await logs.start()
    const log = await logs.openLog(id, { segmentBytes })
    for (let i = 0; i < 12; i++) {
      const baseOffset = log.endOffset
      await log.append(sampleBatch({ baseOffset, count: 2, payloadBytes: 30 }), baseOffset, 2, 'fsync')
    }
    await logs.stop()
    await state.stop()
  }
}

async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Offsets that can be read; the others must be refused as damaged. */
export async function readableIn(log: PartitionLog): Promise<number[]> {
  const found: number[] = []
  for (let offset = log.startOffset; offset < log.stableOffset; offset++) {
    try {
      await log.read(offset, 1)
      found.push(offset)
    } catch (error) {
      if (!isRatatoskrError(error, 'RTK_STORE_CORRUPT')) throw error
    }
  }
  return found
}

/** Changes a byte; a negative position counts from the end. */
export async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at < 0 ? bytes.length + at : at] ^= 1
  await writeFile(path, bytes)
}

export const told = (steps: readonly RepairStep[]): string[] =>
  steps.map(({ action, file, result }) => `${result}: ${action} ${basename(file)}`)

export const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i)

/** The name of the segment with a base offset. */
export const name = (base: number): string => `${String(base).padStart(20, '0')}.log`
