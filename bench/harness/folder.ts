/** Folders for data that are gone afterwards, and what lies in them. */
import { rmSync } from 'node:fs'
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Those that exist now: a bench that is interrupted removes them, as far as nobody writes to them any more. */
const existing = new Set<string>()
process.on('exit', () => {
  for (const path of existing) rmSync(path, { recursive: true, force: true, maxRetries: 3 })
})

/** Makes a folder, runs with it, and removes it whatever happens. */
export async function inFolder<T>(directory: string, run: (path: string) => Promise<T>): Promise<T> {
  const path = await mkdtemp(join(directory, 'ratatoskr-bench-'))
  existing.add(path)
  try {
    return await run(path)
  } finally {
    existing.delete(path)
    await rm(path, { recursive: true, force: true })
  }
}

export interface FolderSize {
  /** What the files say they hold. */
  readonly fileBytes: number
  /** What the file system gives them, directories included. */
  readonly allocatedBytes: number
}

const bytesPerBlock = 512

export async function sizeOfFolder(path: string): Promise<FolderSize> {
  let fileBytes = 0
  let allocatedBytes = 0
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    const { size, blocks } = await lstat(join(entry.parentPath, entry.name))
    if (entry.isFile()) fileBytes += size
    allocatedBytes += blocks * bytesPerBlock
  }
  return { fileBytes, allocatedBytes }
}
