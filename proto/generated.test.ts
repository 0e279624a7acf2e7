/** What is committed under generated/ is what buf makes of the .proto files, and those keep buf's rules. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const buf = join(root, 'node_modules', '.bin', 'buf')

/** buf's binary comes in a package of its own for each platform, and there is none for some. */
function bufIsInstalled(): boolean {
  try {
    const fromBuf = createRequire(createRequire(import.meta.url).resolve('@bufbuild/buf/package.json'))
    fromBuf.resolve(`@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`)
    return existsSync(buf)
  } catch {
    return false
  }
}

async function filesOf(directory: string): Promise<Map<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const contents = await Promise.all(files.map((file) => readFile(file, 'utf8')))
  return new Map(files.map((file, index) => [file.slice(directory.length), contents[index]]))
}

const released = join(root, 'proto', 'released')
const installed = bufIsInstalled()
if (!installed)
  console.warn('skipped: @bufbuild/buf has no binary for this platform, so nothing is regenerated')

describe.runIf(installed)('the contract', () => {
  it('keeps the STANDARD rules of buf', async () => {
    await expect(run(buf, ['lint'], { cwd: root })).resolves.toMatchObject({ stdout: '' })
  })

  // An image of the contract of each release: `buf build -o proto/released/<version>.binpb` before it goes out.
  it.each(readdirSync(released))('breaks no client of %s', async (image) => {
    await expect(
      run(buf, ['breaking', '--against', join(released, image)], { cwd: root }),
    ).resolves.toMatchObject({ stdout: '' })
  })

  it('is committed as generated', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-proto-'))
    try {
      await run(buf, ['generate', '--output', directory], { cwd: root })
      const fresh = await filesOf(join(directory, 'proto', 'generated'))
      expect(fresh.size).toBeGreaterThan(5)
      expect(await filesOf(join(root, 'proto', 'generated'))).toEqual(fresh)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
