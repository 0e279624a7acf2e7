/**
 * The file system of Node: asynchronous calls only, so that the event loop never waits for the disk. Files are readable by
 * their owner alone.
 */
import fs from 'node:fs'
import { mkdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { DiskFile, FileSystem, OpenMode } from 'ratatoskr/ports'
import { lockDirectory } from './directory-lock.ts'
import { systemCodeOf } from './file-system.ts'

const { O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants
// Without O_NONBLOCK opening a pipe or a device may wait for its other end.
const always = O_NONBLOCK ?? 0
const flagsOf: Readonly<Record<OpenMode, number>> = {
  read: always | O_RDONLY,
  write: always | O_RDWR,
  create: always | O_RDWR | O_CREAT | O_TRUNC,
}
/** What opening a socket, or a device without a driver, gives. */
const noFileCodes = ['ENXIO', 'ENODEV', 'EOPNOTSUPP']

export const nodeFileSystem: FileSystem = {
  open: openFile,
  makeDirectory,
  async list(path) {
    return result<string[]>((done) => fs.readdir(path, done)).catch(unlessMissing([], 'ENOTDIR'))
  },
  async sizeOf(path) {
    return sizeOfFile(await result<fs.Stats>((done) => fs.stat(path, done)))
  },
  async remove(path) {
    await unlink(path).catch(unlessMissing(undefined))
  },
  async removeTree(path) {
    await rm(path, { recursive: true, force: true })
  },
  rename,
  async syncDirectory(path) {
    const fd = await result<number>((done) => fs.open(path, O_RDONLY, done))
    try {
      await result((done) => fs.fsync(fd, done))
    } finally {
      await result((done) => fs.close(fd, done))
    }
  },
  async lock(directory) {
    await makeDirectory(directory)
    return lockDirectory(directory)
  },
}

/**
 * Makes a directory and those above it that are missing, level by level: Node's own recursive mkdir never ends below a
 * directory that exists and yet answers ENOENT, as /proc does, and holds a thread that keeps the process from exiting.
 */
async function makeDirectory(path: string): Promise<void> {
  try {
    await makeOneDirectory(path)
  } catch (error) {
    const parent = dirname(path)
    if (systemCodeOf(error) !== 'ENOENT' || parent === path) throw error
    await makeDirectory(parent)
    await makeOneDirectory(path)
  }
}

async function makeOneDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const found = await stat(path).catch(() => undefined)
    if (found?.isDirectory() !== true) throw error
  }
}

/** Swallows ENOENT, or another code, and gives `value` instead. */
function unlessMissing<T>(value: T, also = 'ENOENT'): (error: unknown) => T {
  return (error) => {
    if (['ENOENT', also].includes(systemCodeOf(error) ?? '')) return value
    throw error
  }
}

/** Opens regular files only: anything else would fail later, with errors that tell of a disk that is broken. */
async function openFile(path: string, mode: OpenMode): Promise<DiskFile> {
  const opening = result<number>((done) => fs.open(path, flagsOf[mode], 0o600, done))
  const fd = await opening.catch((error: unknown) => {
    throw noFileCodes.includes(systemCodeOf(error) ?? '') ? noFile('EFTYPE') : error
  })
  const file = new NodeFile(fd)
  try {
    await file.size()
    return file
  } catch (error) {
    await file.close().catch(() => undefined)
    throw error
  }
}

const noFile = (code: 'EISDIR' | 'EFTYPE'): Error =>
  Object.assign(new Error('it is no regular file'), { code })

/** @throws EISDIR, EFTYPE for what is no regular file */
function sizeOfFile(found: fs.Stats): number {
  if (found.isFile()) return found.size
  throw noFile(found.isDirectory() ? 'EISDIR' : 'EFTYPE')
}

/** A descriptor with the callback functions of node:fs: a FileHandle would make three more promises for each call. */
class NodeFile implements DiskFile {
  readonly #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < into.length) {
      const count = await this.#readSome(into, done, position + done)
      if (count === 0) break
      done += count
    }
    return done
  }

  #readSome(into: Uint8Array, from: number, position: number): Promise<number> {
    return result((done) => fs.read(this.#fd, into, from, into.length - from, position, done))
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return result((done) => fs.write(this.#fd, bytes, 0, bytes.length, position, done))
  }

  writev(pieces: readonly Uint8Array[], position: number): Promise<number> {
    return result((done) => fs.writev(this.#fd, pieces, position, done))
  }

  sync(): Promise<void> {
    return result((done) => fs.fdatasync(this.#fd, done))
  }

  truncate(sizeBytes: number): Promise<void> {
    return result((done) => fs.ftruncate(this.#fd, sizeBytes, done))
  }

  async size(): Promise<number> {
    return sizeOfFile(await result<fs.Stats>((done) => fs.fstat(this.#fd, done)))
  }

  close(): Promise<void> {
    return result((done) => fs.close(this.#fd, done))
  }
}

/** Makes a promise of a call with a callback. */
function result<T = void>(
  call: (done: (error: Error | null | undefined, value?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error) reject(error)
      else resolve(value as T)
    })
  })
}
