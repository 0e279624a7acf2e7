import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeArguments } from '../../contract-tests/batteries/harness/server-process.ts'
import { cacheDirectory } from './compile-cache.ts'

let home: string
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'ratatoskr-home-'))
})
afterEach(async () => {
  await chmod(home, 0o700)
  await rm(home, { recursive: true, force: true })
})

/** Runs `ratatoskr --version` of a user with this home. */
const version = (environment: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, [...nodeArguments, '--version'], {
    env: { PATH: process.env.PATH, HOME: home, ...environment },
  })

describe('compiled modules', () => {
  it('are kept in the cache directory of the user', async () => {
    await version()
    expect(await readdir(join(home, '.cache', 'ratatoskr'))).toEqual(['compiled'])
  })

  it('are kept where the user wants them, or not at all', async () => {
    await version({ NODE_COMPILE_CACHE: join(home, 'mine') })
    expect(await readdir(home)).toEqual(['mine'])
    await rm(join(home, 'mine'), { recursive: true })
    await version({ NODE_DISABLE_COMPILE_CACHE: '1' })
    expect(await readdir(home)).toEqual([])
  })

  it('may be missing: a home that is read-only or is none stops nothing', async () => {
    await chmod(home, 0o500)
    expect((await version()).stdout).toMatch(/^\d+\.\d+\.\d+/)
    expect((await version({ HOME: '/dev/null' })).stdout).toMatch(/^\d+\.\d+\.\d+/)
  })
})

describe('the cache directory', () => {
  it.each([
    [{}, 'linux', '/home/u', '/home/u/.cache/ratatoskr/compiled'],
    [{ XDG_CACHE_HOME: '/var/cache/u' }, 'linux', '/home/u', '/var/cache/u/ratatoskr/compiled'],
    [{ XDG_CACHE_HOME: 'relative' }, 'linux', '/home/u', '/home/u/.cache/ratatoskr/compiled'],
    [{ XDG_CACHE_HOME: '' }, 'linux', '', undefined],
    [{ LOCALAPPDATA: '/c/local' }, 'win32', '/home/u', '/c/local/ratatoskr/compiled'],
  ] as const)('of %j on %s with home %s is %s', (environment, platform, at, directory) => {
    expect(cacheDirectory(environment, platform, () => at)).toBe(directory)
  })

  it('is none for a user without an entry in the system', () => {
    const none = () => {
      throw new Error('no such user')
    }
    expect(cacheDirectory({}, 'linux', none)).toBeUndefined()
  })
})
