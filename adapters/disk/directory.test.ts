/** Who may use a data directory, and what may be in it. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lockFileName, lockHolderOf } from './files/directory-lock.ts'
import { diskStorage } from './index.ts'
import { makeDirectory, openDisk } from './testing/setups.ts'

let directory: string

beforeEach(async () => {
  directory = await makeDirectory()
})

afterEach(() => rm(directory, { recursive: true, force: true }))

describe('the lock of a data directory', () => {
  it('refuses a second user and names the holder, before it touches a file', async () => {
    const first = openDisk(directory)
    await first.state.start()
    await first.logs.start()
    const before = await readdir(directory)
    const second = openDisk(directory)
    await expect(second.logs.start()).rejects.toMatchObject({
      code: 'RTK_STORE_LOCKED',
      details: { pid: process.pid },
      message: expect.stringContaining(String(process.pid)),
    })
    await expect(second.state.start()).rejects.toMatchObject({ code: 'RTK_STORE_LOCKED' })
    expect(await readdir(directory)).toEqual(before)
    await first.logs.stop()
    await expect(second.logs.start()).rejects.toMatchObject({ code: 'RTK_STORE_LOCKED' })
    await first.state.stop()
    await second.logs.start()
    await second.logs.stop()
    expect(await readdir(directory)).not.toContain(lockFileName)
  })

  it('is taken over from a process that died', async () => {
    const dead = spawn(process.execPath, ['-e', ''])
    await new Promise((resolve) => dead.once('exit', resolve))
    const { dev, ino } = await stat(directory)
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim()
    const holder = { pid: dead.pid, startedAt: '', bootId, directory: `${dev}:${ino}` }
    await writeFile(join(directory, lockFileName), JSON.stringify(holder))
    const { logs } = openDisk(directory)
    await logs.start()
    expect(JSON.parse(await readFile(join(directory, lockFileName), 'utf8')).pid).toBe(process.pid)
    await logs.stop()
  })

  it('is not taken from a process that lives, even one that has no socket', async () => {
    const { logs } = openDisk(directory)
    await logs.start()
    const holder = JSON.parse(await readFile(join(directory, lockFileName), 'utf8'))
    await logs.stop()
    await writeFile(join(directory, lockFileName), JSON.stringify({ ...holder, socket: false }))
    await expect(logs.start()).rejects.toMatchObject({
      code: 'RTK_STORE_LOCKED',
      details: { pid: process.pid },
    })
    await rm(join(directory, lockFileName))
    await logs.start()
    await logs.stop()
  })

  it('is taken from a thread of this process that crashed, whose socket is gone', async () => {
    const { logs } = openDisk(directory)
    await logs.start()
    const holder = await readFile(join(directory, lockFileName), 'utf8')
    await logs.stop()
    await writeFile(join(directory, lockFileName), holder)
    const again = process.platform === 'linux' ? 'taken' : 'RTK_STORE_LOCKED'
    expect(
      await logs.start().then(
        () => 'taken',
        ({ code }) => code,
      ),
    ).toBe(again)
    await logs.stop()
  })

  it('is not waited for where a pipe stands in its place', async () => {
    execFileSync('mkfifo', [join(directory, lockFileName)])
    expect(await lockHolderOf(directory)).toBeUndefined()
    await expect(openDisk(directory).logs.start()).rejects.toMatchObject({
      code: 'RTK_STORE_FAILED',
      message: expect.stringContaining('a pipe, a socket or a device where a file belongs'),
    })
  })

  it('does not travel with a copy, and half of a lock file is none', async () => {
    const { logs } = openDisk(directory)
    await writeFile(join(directory, lockFileName), '{"pid":')
    await logs.start()
    const copy = await makeDirectory()
    await writeFile(join(copy, lockFileName), await readFile(join(directory, lockFileName)))
    const other = openDisk(copy).logs
    await other.start()
    await other.stop()
    await logs.stop()
    await rm(copy, { recursive: true })
  })
})

describe('the format of a data directory', () => {
  it('is written first and known again', async () => {
    const { logs } = openDisk(directory)
    await logs.start()
    await logs.stop()
    expect(JSON.parse(await readFile(join(directory, 'format.json'), 'utf8'))).toEqual({ format: 1 })
    await logs.start()
    await logs.stop()
  })

  it('that is newer or unreadable is refused, and the lock given back', async () => {
    for (const content of ['{"format":2}', '{"format":"1"}', 'null', '{', '']) {
      await writeFile(join(directory, 'format.json'), content)
      const { logs, state } = openDisk(directory)
      await expect(logs.start()).rejects.toMatchObject({ code: 'RTK_STORE_FORMAT_UNKNOWN' })
      await expect(state.start()).rejects.toMatchObject({ code: 'RTK_STORE_FORMAT_UNKNOWN' })
    }
    await writeFile(join(directory, 'format.json'), '{"format":1}')
    const { logs } = openDisk(directory)
    await logs.start()
    await logs.stop()
  })

  it('with keys that this version does not know is refused, for they change what the files mean', async () => {
    await writeFile(join(directory, 'format.json'), '{"format":1,"encryption":"aes-256-gcm"}')
    for (const store of Object.values(openDisk(directory))) {
      await expect(store.start()).rejects.toMatchObject({
        code: 'RTK_STORE_FORMAT_UNKNOWN',
        message: expect.stringContaining('"encryption"'),
      })
    }
    expect((await readdir(directory)).sort()).toEqual(['format.json'])
  })

  it('is not made up for a directory with other things in it', async () => {
    await writeFile(join(directory, 'thesis.tex'), '')
    await expect(openDisk(directory).logs.start()).rejects.toMatchObject({ code: 'RTK_CONFIG_INVALID' })
    expect(await readdir(directory)).toEqual(['thesis.tex'])
    await rm(join(directory, 'thesis.tex'))
    await mkdir(join(directory, 'lost+found'))
    const { logs } = openDisk(directory)
    await logs.start()
    await logs.stop()
  })

  it('is made with the directory and its parents when there is none', async () => {
    const { logs } = openDisk(join(directory, 'a', 'b'))
    await logs.start()
    await logs.stop()
    expect((await stat(join(directory, 'a', 'b'))).mode & 0o777).toBe(0o700)
  })
})

describe('diskStorage', () => {
  it.each(['file', 'file/below'])('refuses %s, which is no directory, as a wrong setting', async (name) => {
    await writeFile(join(directory, 'file'), '')
    await expect(openDisk(join(directory, name)).logs.start()).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringMatching(/^storage\.directory: .*is not a directory/),
    })
  })

  it('refuses options that are none', () => {
    expect(() => diskStorage({ directory: '' })).toThrow(TypeError)
    expect(() => diskStorage(undefined as never)).toThrow(TypeError)
    expect(() => diskStorage({ directory, syncIntervalMs: 0 })).toThrow(TypeError)
    expect(() => diskStorage({ directory, hotBytesMax: Number.NaN })).toThrow(TypeError)
    expect(() => diskStorage({ directory, openFilesMax: 0.5 })).toThrow(TypeError)
  })
})

describe.runIf(process.platform === 'linux')('a directory whose parent holds no files', () => {
  it.each(['/proc/ratatoskr', '/proc/ratatoskr/data'])('%s is a wrong setting, and ends', async (path) => {
    await expect(openDisk(path).logs.start()).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringContaining(path),
    })
  })
})
