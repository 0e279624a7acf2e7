/**
 * The data directory that logs and state share: claimed while one of them is started, and of a format that we know.
 *
 *     ratatoskr.lock                                   who holds the directory
 *     format.json                                      version of everything below
 *     state/<generation>.log, .copy                    state-log.ts
 *     logs/<topic id>/<partition>/<base offset>.log    segment.ts, with an .index beside it
 *     quarantine/                                      damaged files that were set aside
 *     trash/                                           deleted logs on their way out
 */

import { dirname } from 'node:path'
import type { DirectoryLock, FileSystem } from 'ratatoskr/ports'
import { RatatoskrError } from 'ratatoskr/ports'
import { lockFileName } from './directory-lock.ts'
import { systemCodeOf, writeAll } from './file-system.ts'

/** Version of the layout and of the files that are our own. */
const formatVersion = 1

export const formatFileName = 'format.json'

/** Why a path is no place for data, by the system's code. */
const unusableReasons: Readonly<Record<string, string>> = {
  ENOENT: 'cannot be made, for what it lies in holds no files',
  EEXIST: 'is not a directory',
  ENOTDIR: 'is not a directory, or lies in something that is none',
  EACCES: 'may not be written to',
  EPERM: 'may not be written to',
  EROFS: 'is on a read-only file system',
}

/** What is said where there are data, and nothing says of which format. */
export const missingFormat = `${formatFileName} of the data directory is missing; put it back: {"format":${formatVersion}} for data of this version`

/** Why the content of `format.json` is none that this version can work with; undefined when it is. */
export function formatProblemOf(bytes: Uint8Array): string | undefined {
  let content: unknown
  try {
    content = JSON.parse(Buffer.from(bytes).toString())
  } catch {
    content = undefined
  }
  const { format, ...others } = { ...(typeof content === 'object' ? content : undefined) } as Record<
    string,
    unknown
  >
  if (format !== formatVersion) {
    const found = typeof format === 'number' ? String(format) : 'unreadable'
    return `the data directory has format ${found}, this version knows format ${formatVersion}; use the version that wrote it`
  }
  // Each key that is ever added changes what the files mean, such as that they are encrypted.
  const [unknown] = Object.keys(others)
  if (unknown === undefined) return undefined
  return `format.json of the data directory has ${JSON.stringify(unknown)}, which this version does not know; use the version that wrote it, or a newer one`
}

/** What syncing a directory gives that belongs to someone else, or to a file system that is no disk. */
const notOurs = ['EACCES', 'EPERM', 'EROFS', 'EINVAL', 'ENOTSUP']

export class DataDirectory {
  readonly path: string
  readonly #fileSystem: FileSystem
  #users = 0
  #lock: Promise<DirectoryLock> | undefined

  constructor(fileSystem: FileSystem, path: string) {
    this.#fileSystem = fileSystem
    this.path = path
  }

  /**
   * Claims the directory for one more user.
   * @throws RTK_STORE_LOCKED, RTK_STORE_FORMAT_UNKNOWN, RTK_CONFIG_INVALID for a directory with someone else's files
   */
  async acquire(): Promise<void> {
    this.#users++
    try {
      this.#lock ??= this.#claim()
      await this.#lock
    } catch (error) {
      this.#users--
      this.#lock = undefined
      throw error
    }
  }

  async release(): Promise<void> {
    this.#users--
    if (this.#users > 0) return
    const lock = this.#lock
    this.#lock = undefined
    await (await lock)?.release()
  }

  async #claim(): Promise<DirectoryLock> {
    const lock = await this.#fileSystem.lock(this.path).catch((error: unknown) => {
      throw this.#unusable(error)
    })
    try {
      await this.#checkFormat()
      return lock
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** What a wrong setting causes is said as one; this is told only to whoever starts the broker, so it may name the path. */
  #unusable(cause: unknown): unknown {
    const code = systemCodeOf(cause)
    const reason = code === undefined ? undefined : unusableReasons[code]
    if (reason === undefined) return cause
    return new RatatoskrError(
      'RTK_CONFIG_INVALID',
      `storage.directory: ${this.path} ${reason}; choose a directory that this process may write to (${code})`,
      { cause },
    )
  }

  async #checkFormat(): Promise<void> {
    const names = await this.#fileSystem.list(this.path)
    if (names.includes(formatFileName)) {
      const problem = formatProblemOf(await this.#readFormat())
      if (problem === undefined) return
      throw new RatatoskrError('RTK_STORE_FORMAT_UNKNOWN', problem)
    }
    if (names.includes('logs') || names.includes('state')) {
      throw new RatatoskrError('RTK_STORE_FORMAT_UNKNOWN', missingFormat)
    }
    const foreign = names.find(
      (name) => name !== lockFileName && name !== 'lost+found' && !name.startsWith('.'),
    )
    if (foreign !== undefined) {
      throw new RatatoskrError(
        'RTK_CONFIG_INVALID',
        "the data directory has files in it that are not Ratatoskr's; choose an empty directory, or a new one",
      )
    }
    await this.#syncAncestors()
    await this.#writeFormat()
  }

  /**
   * The directory, and those above it, may be as new as the data: without their names a power cut loses all of it. Those
   * that this process may not open are older than it.
   */
  async #syncAncestors(): Promise<void> {
    for (let path = this.path; path !== dirname(path); ) {
      path = dirname(path)
      await this.#fileSystem.syncDirectory(path).catch((error: unknown) => {
        if (!notOurs.includes(systemCodeOf(error) ?? '')) throw error
      })
    }
  }

  async #readFormat(): Promise<Uint8Array> {
    const file = await this.#fileSystem.open(`${this.path}/${formatFileName}`, 'read')
    try {
      const bytes = new Uint8Array(await file.size())
      return bytes.subarray(0, await file.read(bytes, 0))
    } finally {
      await file.close()
    }
  }

  async #writeFormat(): Promise<void> {
    const path = `${this.path}/${formatFileName}`
    const file = await this.#fileSystem.open(`${this.path}/.${formatFileName}`, 'create')
    try {
      await writeAll(file, Buffer.from(`${JSON.stringify({ format: formatVersion })}\n`), 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await this.#fileSystem.rename(`${this.path}/.${formatFileName}`, path)
    await this.#fileSystem.syncDirectory(this.path)
  }
}
