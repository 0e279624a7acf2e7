/** What a check of a data directory finds, what a repair does about it where nothing is lost, and that the store agrees with both. */
import { execFileSync } from 'node:child_process'
import {
  appendFile,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { basename, join } from 'node:path'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyDataDirectory } from '../index.ts'
import { flip, id, name, platform, range, SampleDirectory, told } from '../testing/sample-directory.ts'
import { filesIn } from '../testing/setups.ts'

const at = new SampleDirectory()

beforeEach(() => at.make())
afterEach(() => at.remove())

describe('a whole directory', () => {
  it('has nothing that is to be done', async () => {
    expect((await at.segments()).map((path) => basename(path))).toEqual([
      name(0),
      name(6),
      name(12),
      name(18),
    ])
    const found = await at.verify()
    expect(found.map(({ severity }) => severity)).toEqual(found.map(() => 'ok'))
    expect(
      found.reduce((sum, { file, records = 0 }) => sum + (file.startsWith('logs') ? records : 0), 0),
    ).toBe(24)
    const before = await at.everything()
    expect(await at.repair()).toEqual([])
    const after = await at.everything()
    expect({ ...after, [at.directory]: '' }).toEqual({ ...before, [at.directory]: '' })
  })

  it('is checked to its last byte, and that is told', async () => {
    const seen: [number, number][] = []
    for await (const _ of verifyDataDirectory(at.directory, platform.checksum, (...now) => seen.push(now)));
    expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1])
    expect(seen.at(-1)?.[0]).toBeGreaterThan(1_500)
  })

  it('is checked while a broker runs on it, which a repair refuses', async () => {
    await at.withLog(async (log) => {
      await log.append(sampleBatch({ baseOffset: 24 }), 24, 1, 'fsync')
      await appendFile((await at.segments())[3], 'half a bat')
      expect(await at.remarks()).toEqual(['ratatoskr.lock in use', `${name(18)} torn`])
      for (const dryRun of [true, false]) {
        await expect(at.repair({ dryRun })).rejects.toMatchObject({
          code: 'RTK_STORE_LOCKED',
          message: expect.stringContaining(`process ${process.pid}`),
        })
      }
      await truncate((await at.segments())[3], (await stat((await at.segments())[3])).size - 10)
    })
  })

  it('that is none is refused', async () => {
    at.directory = join(at.directory, 'logs')
    await expect(at.verify()).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    await expect(at.repair()).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    at.directory = join(at.directory, '..')
    await writeFile(join(at.directory, 'format.json'), '{"format":1,"encryption":{}}')
    expect(await at.errors()).toMatchObject([{ file: 'format.json', state: 'refused' }])
    await expect(at.repair()).rejects.toMatchObject({ code: 'RTK_STORE_FORMAT_UNKNOWN' })
  })
})

describe('what costs nothing', () => {
  it('a torn end is told, cut, and what is cut is kept', async () => {
    const last = (await at.segments())[3]
    const { size } = await stat(last)
    await appendFile(last, 'half a batch')
    expect(await at.remarks()).toEqual([`${name(18)} torn`])
    expect(told(await at.repair())).toEqual([`done: cut end ${name(18)}`])
    expect((await stat(last)).size).toBe(size)
    const [kept] = await readdir(join(at.directory, 'quarantine'))
    expect(await readFile(join(at.directory, 'quarantine', kept), 'utf8')).toBe('half a batch')
    expect(await at.errors()).toEqual([])
  })

  it('indexes that are missing, stale or damaged are made again as they were', async () => {
    const indexes = await filesIn(at.logDirectory, '.index')
    const before = await Promise.all(indexes.map((path) => readFile(path)))
    await unlink(indexes[0])
    await flip(indexes[1], 30)
    await copyFile(indexes[1], indexes[2])
    await flip(indexes[3], -1)
    const states = ['missing', 'damaged', 'damaged', 'damaged']
    const names = [0, 6, 12, 18].map((base) => name(base).replace('log', 'index'))
    expect(await at.remarks()).toEqual(names.map((one, i) => `${one} ${states[i]}`))
    expect(await at.errors()).toEqual([])
    expect(told(await at.repair())).toEqual(names.map((one) => `done: write index ${one}`))
    expect(await Promise.all(indexes.map((path) => readFile(path)))).toEqual(before)
  })

  it('an index of another time is stale', async () => {
    const [first, second] = await filesIn(at.logDirectory, '.index')
    await copyFile(second, first)
    expect(await at.remarks()).toEqual([`${basename(first)} stale`])
    expect(told(await at.repair())).toEqual([`done: write index ${basename(first)}`])
    expect(await at.remarks()).toEqual([])
  })

  it('what is no file of ours is told of wherever it is, and a directory that cannot be read is said to be so', async () => {
    await writeFile(join(at.directory, 'notes.txt'), 'x')
    await mkdir(join(at.directory, 'logs', 'old'))
    await writeFile(join(at.directory, 'logs', id.topicId, 'notes.txt'), 'x')
    const found = (await at.verify()).filter(({ state }) => state === 'foreign')
    expect(found.map(({ file, severity }) => `${severity} ${file}`)).toEqual([
      'info notes.txt',
      'info logs/old',
      `info logs/${id.topicId}/notes.txt`,
    ])
    const nowhere = join(at.directory, 'nowhere')
    const check = verifyDataDirectory(nowhere, nodePlatform().checksum).next()
    await expect(check).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.stringContaining(`"${nowhere}" cannot be read (ENOENT)`),
    })
  })

  it('data without format.json is refused by everybody in the same words', async () => {
    await unlink(join(at.directory, 'format.json'))
    const refused = {
      code: 'RTK_STORE_FORMAT_UNKNOWN',
      message:
        'format.json of the data directory is missing; put it back: {"format":1} for data of this version',
    }
    await expect(at.open().state.start()).rejects.toMatchObject(refused)
    await expect(at.repair()).rejects.toMatchObject(refused)
    expect((await at.errors())[0].problem).toContain(refused.message)
  })

  it('other files, trash and quarantine are told of', async () => {
    await writeFile(join(at.logDirectory, 'notes.txt'), '')
    await writeFile(join(at.logDirectory, '00000000000000000003.index'), '')
    await writeFile(join(at.logDirectory, '00000000000000000020-100.tail'), '')
    await writeFile(join(at.directory, 'trash', 'old'), '')
    await at.repair()
    expect(await at.remarks()).toEqual([
      '00000000000000000003.index stray index',
      '00000000000000000020-100.tail unfinished',
      'notes.txt no segment',
      'old deleted',
    ])
  })

  it('a copy of the state is made again', async () => {
    const copy = join(at.directory, 'state', '00000000000000000001.copy')
    await unlink(copy)
    expect(await at.remarks()).toEqual(['00000000000000000001.copy missing'])
    expect(told(await at.repair())).toEqual(['done: write state state'])
    expect(await at.remarks()).toEqual([])
  })

  it('a log without a topic is told of and left alone', async () => {
    await at.withLog(async () => undefined)
    const { state } = at.open()
    await state.start()
    await state.delete('topics/default/orders')
    await state.stop()
    expect(await at.verify()).toContainEqual(
      expect.objectContaining({
        severity: 'warning',
        state: 'orphan',
        records: 24,
        file: `logs/${id.topicId}/0`,
      }),
    )
    expect(told(await at.repair())).toEqual(['not done: orphan 0'])
    expect(await at.readable()).toEqual(range(0, 24))
  })
})

describe('what is of another kind than it should be', () => {
  const part = `logs/${id.topicId}/0`
  const cases: [path: string, kind: 'file' | 'directory' | 'pipe'][] = [
    [part, 'file'],
    [`logs/${id.topicId}`, 'file'],
    ['logs', 'file'],
    ['state', 'file'],
    ['quarantine', 'file'],
    ['clean', 'directory'],
    ['reserve', 'pipe'],
    ['reserve', 'directory'],
    ['ratatoskr.lock', 'directory'],
    [`${part}/${name(6)}`, 'directory'],
    [`${part}/${name(6)}`, 'pipe'],
    [`${part}/${name(6).replace('log', 'index')}`, 'directory'],
    [`${part}/${name(6).replace('log', 'index')}`, 'pipe'],
  ]
  it.each(cases)('is told, and nothing hangs: %s is a %s', async (path, kind) => {
    const whole = join(at.directory, path)
    await rm(whole, { recursive: true, force: true })
    if (kind === 'file') await writeFile(whole, 'hello')
    else if (kind === 'directory') await mkdir(whole)
    else execFileSync('mkfifo', [whole])
    expect(await at.verify()).toContainEqual(
      expect.objectContaining({ file: path, problem: expect.any(String), advice: expect.any(String) }),
    )
    for (const dryRun of [true, false]) {
      expect(await at.repair({ dryRun })).toContainEqual(
        expect.objectContaining({ action: 'put right', file: path, result: 'not done' }),
      )
    }
  })

  it('keeps the broker from starting with words that say so', async () => {
    await rm(join(at.directory, 'state'), { recursive: true })
    await writeFile(join(at.directory, 'state'), '')
    await expect(at.open().state.start()).rejects.toMatchObject({
      code: 'RTK_STORE_FAILED',
      message: expect.stringContaining('log verify'),
    })
  })

  it('a segment that cannot be read can be set aside', async () => {
    const path = (await at.segments())[1]
    await unlink(path)
    await mkdir(path)
    await at.repair({ setAside: [`${part}/${name(6)}`], acceptLoss: true })
    expect(await at.errors()).toEqual([])
    expect(await at.readable()).toEqual([...range(0, 6), ...range(12, 24)])
  })
})
