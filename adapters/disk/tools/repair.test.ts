/** What a check of a data directory finds, what a repair does about it, and that the store agrees with both. */
import { execFileSync } from 'node:child_process'
import {
  appendFile,
  copyFile,
  cp,
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
import fc from 'fast-check'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { batchStarts, type LogId, type PartitionLog, type Stores, utf8 } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type DumpedPart,
  diskStorage,
  dumpBatches,
  type Finding,
  type RepairOptions,
  type RepairStep,
  repairDataDirectory,
  verifyDataDirectory,
} from '../index.ts'
import { filesIn, makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const segmentBytes = 500
const platform = nodePlatform({ logger: silentLogger })

let directory: string
let logDirectory: string
/** What is written in each test: copied, so that it is written once. */
let sample: string

beforeEach(async () => {
  directory = await makeDirectory()
  sample = await makeDirectory()
  logDirectory = join(directory, 'logs', id.topicId, '0')
  await write()
  await cp(directory, sample, { recursive: true })
})

afterEach(async () => {
  for (const path of [directory, sample]) await rm(path, { recursive: true, force: true })
})

const open = (): Stores => diskStorage({ directory }).open(platform)

/** Uses the log of the directory, and stops. */
async function withLog<T>(use: (log: PartitionLog) => Promise<T>): Promise<T> {
  const { logs, state } = open()
  await state.start()
  await logs.start()
  try {
    return await use(await logs.openLog(id, { segmentBytes }))
  } finally {
    await logs.stop()
    await state.stop()
  }
}

/** Twelve batches of two records in four segments, and a state that knows the topic. */
async function write(): Promise<void> {
  const { logs, state } = open()
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

async function fresh(): Promise<void> {
  await rm(directory, { recursive: true })
  await cp(sample, directory, { recursive: true })
}

const segments = (): Promise<string[]> => filesIn(logDirectory, '.log')

async function verify(): Promise<Finding[]> {
  const found: Finding[] = []
  for await (const finding of verifyDataDirectory(directory, platform.checksum)) found.push(finding)
  return found
}

const errors = async (): Promise<Finding[]> => (await verify()).filter(({ severity }) => severity === 'error')
const remarks = async (): Promise<string[]> =>
  (await verify())
    .filter(({ severity }) => severity !== 'ok')
    .map(({ file, state }) => `${basename(file)} ${state}`)

async function repair(options: Partial<RepairOptions> = {}): Promise<RepairStep[]> {
  const steps: RepairStep[] = []
  const all = { dryRun: false, acceptLoss: false, setAside: [], ...options }
  for await (const step of repairDataDirectory(directory, platform, all)) steps.push(step)
  return steps
}

const told = (steps: readonly RepairStep[]): string[] =>
  steps.map(({ action, file, result }) => `${result}: ${action} ${basename(file)}`)

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at < 0 ? bytes.length + at : at] ^= 1
  await writeFile(path, bytes)
}

/** Offsets that can be read. */
const readable = (): Promise<number[]> => withLog(readableIn)

async function readableIn(log: PartitionLog): Promise<number[]> {
  const found: number[] = []
  for (let offset = log.startOffset; offset < log.stableOffset; offset++) {
    try {
      await log.read(offset, 1)
      found.push(offset)
    } catch (error) {
      expect(error).toMatchObject({ code: 'RTK_STORE_CORRUPT' })
    }
  }
  return found
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const name = (base: number): string => `${String(base).padStart(20, '0')}.log`

/** Everything below the directory, with its bytes. */
async function everything(): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    found[path] = entry.isFile()
      ? `${(await readFile(path)).toString('hex')} ${(await stat(path)).mtimeMs}`
      : ''
  }
  return found
}

describe('a whole directory', () => {
  it('has nothing that is to be done', async () => {
    expect((await segments()).map((path) => basename(path))).toEqual([name(0), name(6), name(12), name(18)])
    const found = await verify()
    expect(found.map(({ severity }) => severity)).toEqual(found.map(() => 'ok'))
    expect(
      found.reduce((sum, { file, records = 0 }) => sum + (file.startsWith('logs') ? records : 0), 0),
    ).toBe(24)
    const before = await everything()
    expect(await repair()).toEqual([])
    const after = await everything()
    expect({ ...after, [directory]: '' }).toEqual({ ...before, [directory]: '' })
  })

  it('is checked to its last byte, and that is told', async () => {
    const seen: [number, number][] = []
    for await (const _ of verifyDataDirectory(directory, platform.checksum, (...now) => seen.push(now)));
    expect(seen.at(-1)?.[0]).toBe(seen.at(-1)?.[1])
    expect(seen.at(-1)?.[0]).toBeGreaterThan(1_500)
  })

  it('is checked while a broker runs on it, which a repair refuses', async () => {
    await withLog(async (log) => {
      await log.append(sampleBatch({ baseOffset: 24 }), 24, 1, 'fsync')
      await appendFile((await segments())[3], 'half a bat')
      expect(await remarks()).toEqual(['ratatoskr.lock in use', `${name(18)} torn`])
      for (const dryRun of [true, false]) {
        await expect(repair({ dryRun })).rejects.toMatchObject({
          code: 'RTK_STORE_LOCKED',
          message: expect.stringContaining(`process ${process.pid}`),
        })
      }
      await truncate((await segments())[3], (await stat((await segments())[3])).size - 10)
    })
  })

  it('that is none is refused', async () => {
    directory = join(directory, 'logs')
    await expect(verify()).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    await expect(repair()).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    directory = join(directory, '..')
    await writeFile(join(directory, 'format.json'), '{"format":1,"encryption":{}}')
    expect(await errors()).toMatchObject([{ file: 'format.json', state: 'refused' }])
    await expect(repair()).rejects.toMatchObject({ code: 'RTK_STORE_FORMAT_UNKNOWN' })
  })
})

describe('what costs nothing', () => {
  it('a torn end is told, cut, and what is cut is kept', async () => {
    const last = (await segments())[3]
    const { size } = await stat(last)
    await appendFile(last, 'half a batch')
    expect(await remarks()).toEqual([`${name(18)} torn`])
    expect(told(await repair())).toEqual([`done: cut end ${name(18)}`])
    expect((await stat(last)).size).toBe(size)
    const [kept] = await readdir(join(directory, 'quarantine'))
    expect(await readFile(join(directory, 'quarantine', kept), 'utf8')).toBe('half a batch')
    expect(await errors()).toEqual([])
  })

  it('indexes that are missing, stale or damaged are made again as they were', async () => {
    const indexes = await filesIn(logDirectory, '.index')
    const before = await Promise.all(indexes.map((path) => readFile(path)))
    await unlink(indexes[0])
    await flip(indexes[1], 30)
    await copyFile(indexes[1], indexes[2])
    await flip(indexes[3], -1)
    const states = ['missing', 'damaged', 'damaged', 'damaged']
    const names = [0, 6, 12, 18].map((base) => name(base).replace('log', 'index'))
    expect(await remarks()).toEqual(names.map((one, i) => `${one} ${states[i]}`))
    expect(await errors()).toEqual([])
    expect(told(await repair())).toEqual(names.map((one) => `done: write index ${one}`))
    expect(await Promise.all(indexes.map((path) => readFile(path)))).toEqual(before)
  })

  it('an index of another time is stale', async () => {
    const [first, second] = await filesIn(logDirectory, '.index')
    await copyFile(second, first)
    expect(await remarks()).toEqual([`${basename(first)} stale`])
    expect(told(await repair())).toEqual([`done: write index ${basename(first)}`])
    expect(await remarks()).toEqual([])
  })

  it('what is no file of ours is told of wherever it is, and a directory that cannot be read is said to be so', async () => {
    await writeFile(join(directory, 'notes.txt'), 'x')
    await mkdir(join(directory, 'logs', 'old'))
    await writeFile(join(directory, 'logs', id.topicId, 'notes.txt'), 'x')
    const found = (await verify()).filter(({ state }) => state === 'foreign')
    expect(found.map(({ file, severity }) => `${severity} ${file}`)).toEqual([
      'info notes.txt',
      'info logs/old',
      `info logs/${id.topicId}/notes.txt`,
    ])
    const nowhere = join(directory, 'nowhere')
    const check = verifyDataDirectory(nowhere, nodePlatform().checksum).next()
    await expect(check).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.stringContaining(`"${nowhere}" cannot be read (ENOENT)`),
    })
  })

  it('data without format.json is refused by everybody in the same words', async () => {
    await unlink(join(directory, 'format.json'))
    const refused = {
      code: 'RTK_STORE_FORMAT_UNKNOWN',
      message:
        'format.json of the data directory is missing; put it back: {"format":1} for data of this version',
    }
    await expect(open().state.start()).rejects.toMatchObject(refused)
    await expect(repair()).rejects.toMatchObject(refused)
    expect((await errors())[0].problem).toContain(refused.message)
  })

  it('other files, trash and quarantine are told of', async () => {
    await writeFile(join(logDirectory, 'notes.txt'), '')
    await writeFile(join(logDirectory, '00000000000000000003.index'), '')
    await writeFile(join(logDirectory, '00000000000000000020-100.tail'), '')
    await writeFile(join(directory, 'trash', 'old'), '')
    await repair()
    expect(await remarks()).toEqual([
      '00000000000000000003.index stray index',
      '00000000000000000020-100.tail unfinished',
      'notes.txt no segment',
      'old deleted',
    ])
  })

  it('a copy of the state is made again', async () => {
    const copy = join(directory, 'state', '00000000000000000001.copy')
    await unlink(copy)
    expect(await remarks()).toEqual(['00000000000000000001.copy missing'])
    expect(told(await repair())).toEqual(['done: write state state'])
    expect(await remarks()).toEqual([])
  })

  it('a log without a topic is told of and left alone', async () => {
    await withLog(async () => undefined)
    const { state } = open()
    await state.start()
    await state.delete('topics/default/orders')
    await state.stop()
    expect(await verify()).toContainEqual(
      expect.objectContaining({
        severity: 'warning',
        state: 'orphan',
        records: 24,
        file: `logs/${id.topicId}/0`,
      }),
    )
    expect(told(await repair())).toEqual(['not done: orphan 0'])
    expect(await readable()).toEqual(range(0, 24))
  })
})

describe('segments that have the same records', () => {
  it('a copy under another name is set aside, whichever it is', async () => {
    for (const [source, base] of [
      [0, 3],
      [1, 9],
      [3, 20],
      [2, 10],
      [1, 24],
      [1, 30],
    ] as const) {
      await fresh()
      const all = await segments()
      await copyFile(all[source], join(logDirectory, name(base)))
      await expect(readable()).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
      await unlink(join(directory, 'clean')).catch(() => undefined)
      expect((await errors()).length).toBeGreaterThan(0)
      const before = await everything()
      expect(told(await repair({ dryRun: true }))).toContain(`would do: set aside ${name(base)}`)
      expect(await everything()).toEqual(before)
      expect(told(await repair())).toContain(`done: set aside ${name(base)}`)
      expect(await errors()).toEqual([])
      expect(await readable()).toEqual(range(0, 24))
      const kept = (await readdir(join(directory, 'quarantine'))).filter((one) => one.includes(name(base)))
      expect(kept.length).toBe(1)
    }
  })

  it('are left alone where each has something of its own, until one is chosen', async () => {
    // As if two brokers had written: another batch at offset 4, and the end of the log beside it.
    const other = sampleBatch({ baseOffset: 4, count: 2, payloadBytes: 30, seed: 99 })
    await writeFile(join(logDirectory, name(4)), other)
    const before = await everything()
    const [step] = await repair()
    expect(step).toMatchObject({
      action: 'set aside',
      result: 'not done',
      advice: expect.stringContaining(name(4)),
    })
    const { [join(directory, 'clean')]: _, ...rest } = before
    expect(Object.keys(await everything()).filter((path) => path.endsWith('.log'))).toEqual(
      Object.keys(rest).filter((path) => path.endsWith('.log')),
    )
    expect((await errors()).length).toBeGreaterThan(0)
    const steps = await repair({ setAside: [`logs/${id.topicId}/0/${name(4)}`] })
    expect(told(steps)).toContain(`done: set aside ${name(4)}`)
    expect(await errors()).toEqual([])
    expect(await readable()).toEqual(range(0, 24))
  })

  it('only what is in such a conflict can be chosen, and before anything is changed', async () => {
    const chosen = [`logs/${id.topicId}/0/${name(0)}`]
    const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(name(0)) }
    const missing = [`logs/${id.topicId}/0/${name(7)}`]
    await appendFile((await segments())[3], 'half a batch')
    const before = await everything()
    for (const dryRun of [true, false]) {
      await expect(repair({ setAside: chosen, dryRun })).rejects.toMatchObject(refused)
      await expect(repair({ setAside: missing, dryRun })).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
    }
    // Where one of two adds nothing, the other is not taken.
    await copyFile((await segments())[0], join(logDirectory, name(3)))
    await expect(repair({ setAside: chosen })).rejects.toMatchObject(refused)
    await unlink(join(logDirectory, name(3)))
    expect({ ...(await everything()), [directory]: '' }).toEqual({ ...before, [directory]: '' })
    // And where there is something to decide, what has nothing to do with it is not taken.
    await writeFile(
      join(logDirectory, name(4)),
      sampleBatch({ baseOffset: 4, count: 2, payloadBytes: 30, seed: 99 }),
    )
    await expect(
      repair({ setAside: [`logs/${id.topicId}/0/${name(18)}`, `logs/${id.topicId}/0/${name(4)}`] }),
    ).rejects.toMatchObject({ message: expect.stringContaining(name(18)) })
    expect((await segments()).length).toBe(5)
  })

  it('only a segment of the directory can be chosen', async () => {
    for (const path of ['format.json', `../logs/${id.topicId}/0/${name(0)}`, '/etc/passwd', 'logs']) {
      await expect(repair({ setAside: [path] })).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    }
  })
})

describe('what is lost', () => {
  it('a missing segment is a loss that has to be accepted; then the log opens', async () => {
    await unlink((await segments())[1])
    // With the note of the last stop, and without.
    expect(await errors()).toMatchObject([{ state: 'missing', offset: 6, nextOffset: 12 }])
    await unlink(join(directory, 'clean'))
    expect(await errors()).toMatchObject([{ state: 'missing', offset: 6, nextOffset: 12 }])
    expect(told(await repair())).toContain(`not done: accept loss ${name(12)}`)
    expect((await errors()).length).toBe(1)
    expect(told(await repair({ acceptLoss: true }))).toContain(`done: accept loss ${name(12)}`)
    expect(await errors()).toEqual([])
    expect(await remarks()).toContain(`${name(6)} accepted`)
    expect(await readable()).toEqual([...range(0, 6), ...range(12, 24)])
    expect(await withLog(async ({ damaged }) => damaged)).toEqual([{ from: 6, to: 12 }])
    expect(await repair({ acceptLoss: true })).toEqual([])
  })

  it('segments at either end that are missing are told, and a loss that can be accepted', async () => {
    const index = (base: number): string => name(base).replace('log', 'index')
    const cases: [gone: string[], from: number, to: number, note: boolean][] = [
      [[name(18), index(18)], 18, 24, true],
      [[name(18)], 18, 24, false],
      [[name(12), index(12), name(18), index(18)], 12, 24, true],
      [[name(12), name(18)], 12, 24, false],
      [[name(0), index(0)], 0, 6, true],
      [[0, 6, 12, 18].flatMap((base) => [name(base), index(base)]), 0, 24, true],
      [[0, 6, 12, 18].map(name), 0, 24, false],
    ]
    for (const [gone, from, to, note] of cases) {
      await fresh()
      for (const one of gone) await unlink(join(logDirectory, one))
      if (!note) await unlink(join(directory, 'clean'))
      const told = {
        state: 'missing',
        file: expect.stringContaining(name(from)),
        problem: expect.stringContaining(`offsets ${from} to ${to - 1}`),
        advice: expect.stringContaining('--accept-loss'),
      }
      expect(await errors()).toMatchObject([told])
      // Whatever else is mended, this stays to be told until it is accepted.
      await appendFile((await segments()).at(-1) ?? join(logDirectory, 'x'), 'half')
      expect(await repair()).toContainEqual(
        expect.objectContaining({ action: 'accept loss', result: 'not done', advice: expect.any(String) }),
      )
      expect(await errors()).toMatchObject([told])
      expect((await repair({ acceptLoss: true, dryRun: true })).map(({ result }) => result)).not.toContain(
        'not done',
      )
      await repair({ acceptLoss: true })
      expect(await errors()).toEqual([])
      expect(await readable()).toEqual(range(0, 24).filter((offset) => offset < from || offset >= to))
      expect(await withLog(async ({ endOffset }) => endOffset)).toBe(24)
    }
  })

  it('a damaged batch is a loss that can be accepted; the file is kept', async () => {
    const path = (await segments())[1]
    await flip(path, 200)
    const damaged = await readFile(path)
    expect(await errors()).toMatchObject([
      { state: 'damaged', offset: 8, nextOffset: 10, file: expect.stringContaining(name(6)) },
    ])
    expect(told(await repair())).toContain(`not done: accept loss ${name(6)}`)
    expect(await readFile(path)).toEqual(damaged)
    expect(told(await repair({ acceptLoss: true }))).toContain(`done: accept loss ${name(6)}`)
    expect(await errors()).toEqual([])
    expect(await readable()).toEqual([...range(0, 8), ...range(10, 24)])
    const [kept] = await readdir(join(directory, 'quarantine'))
    expect(kept).toBe(`${id.topicId}-0-${name(6)}`)
    expect(await readFile(join(directory, 'quarantine', kept))).toEqual(damaged)
    // What comes later is a loss of its own.
    await flip((await segments())[2], 100)
    expect(await errors()).toMatchObject([{ state: 'damaged', offset: 12 }])
  })

  it('a damaged batch that nobody has accepted is known to the index from then on', async () => {
    await flip((await segments())[1], 200)
    expect(told(await repair())).toContain(`done: write index ${name(6).replace('log', 'index')}`)
    expect(await withLog(async ({ damaged }) => damaged)).toEqual([{ from: 8, to: 10 }])
  })

  it('what a stop in order wrote about the files is gone when they are changed', async () => {
    expect(await readdir(directory)).toContain('clean')
    await unlink((await segments())[1])
    await repair({ acceptLoss: true, dryRun: true })
    expect(await readdir(directory)).toContain('clean')
    await repair({ acceptLoss: true })
    expect(await readdir(directory)).not.toContain('clean')
  })

  it('the end of the last segment is one that there is no place to write down', async () => {
    const path = (await segments())[3]
    const [, , third] = batchStarts(await readFile(path))
    await truncate(path, third)
    await unlink(join(directory, 'clean'))
    expect(await errors()).toMatchObject([{ state: 'damaged', offset: 22, nextOffset: 24 }])
    const [step] = await repair({ acceptLoss: true })
    expect(step).toMatchObject({ result: 'not done', reason: expect.stringContaining('there is no place') })
    expect((await stat(path)).size).toBe(third)
    expect(await withLog(async (log) => [log.damaged, log.endOffset])).toEqual([[{ from: 22, to: 24 }], 24])
  })

  it('a segment that ends early, or is empty, is one too', async () => {
    for (const size of [0, 130, 330]) {
      await fresh()
      const path = (await segments())[1]
      const [, second, third] = batchStarts(await readFile(path))
      await truncate(path, size === 130 ? second : size === 330 ? third : 0)
      expect((await errors()).length).toBeGreaterThan(0)
      await repair({ acceptLoss: true })
      expect(await errors()).toEqual([])
      expect(await readable()).toEqual([
        ...range(0, 6 + (size === 0 ? 0 : size === 130 ? 2 : 4)),
        ...range(12, 24),
      ])
    }
  })

  it('the state goes on with what is whole when both copies are damaged', async () => {
    const { state } = open()
    await state.start()
    await state.put('a', utf8('x'))
    await state.put('b', utf8('y'))
    await state.stop()
    for (const ending of ['log', 'copy']) {
      const path = join(directory, 'state', `00000000000000000001.${ending}`)
      await flip(path, [...batchStarts(await readFile(path))][2] + 70)
    }
    expect(await errors()).toMatchObject([{ state: 'lost', offset: 2, nextOffset: 3 }])
    expect(told(await repair())).toEqual(['not done: write state state'])
    expect(told(await repair({ acceptLoss: true }))).toEqual(['done: write state state'])
    expect(await errors()).toEqual([])
    expect((await readdir(join(directory, 'quarantine/state'))).length).toBe(2)
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
    const whole = join(directory, path)
    await rm(whole, { recursive: true, force: true })
    if (kind === 'file') await writeFile(whole, 'hello')
    else if (kind === 'directory') await mkdir(whole)
    else execFileSync('mkfifo', [whole])
    expect(await verify()).toContainEqual(
      expect.objectContaining({ file: path, problem: expect.any(String), advice: expect.any(String) }),
    )
    for (const dryRun of [true, false]) {
      expect(await repair({ dryRun })).toContainEqual(
        expect.objectContaining({ action: 'put right', file: path, result: 'not done' }),
      )
    }
  })

  it('keeps the broker from starting with words that say so', async () => {
    await rm(join(directory, 'state'), { recursive: true })
    await writeFile(join(directory, 'state'), '')
    await expect(open().state.start()).rejects.toMatchObject({
      code: 'RTK_STORE_FAILED',
      message: expect.stringContaining('log verify'),
    })
  })

  it('a segment that cannot be read can be set aside', async () => {
    const path = (await segments())[1]
    await unlink(path)
    await mkdir(path)
    await repair({ setAside: [`${part}/${name(6)}`], acceptLoss: true })
    expect(await errors()).toEqual([])
    expect(await readable()).toEqual([...range(0, 6), ...range(12, 24)])
  })
})

/** One kind of damage to the files of a log, by random numbers below 1. */
const damages: readonly ((files: string[], a: number, b: number) => Promise<void>)[] = [
  async (files, a, b) => {
    const path = files[Math.floor(a * files.length)]
    const { size } = await stat(path)
    if (size > 0) await flip(path, Math.floor(b * size))
  },
  async (files, a, b) => {
    const path = files[Math.floor(a * files.length)]
    await truncate(path, Math.floor(b * (await stat(path)).size))
  },
  async (files, a) => unlink(files[Math.floor(a * files.length)]),
  async (files, a, b) => {
    await copyFile(files[Math.floor(a * files.length)], join(logDirectory, name(Math.floor(b * 30))))
  },
  async (files, a, b) => appendFile(files[Math.floor(a * files.length)], Buffer.alloc(Math.floor(b * 200))),
  async (files, a, b) => {
    const [from, to] = [files[Math.floor(a * files.length)], files[Math.floor(b * files.length)]]
    await appendFile(to, await readFile(from))
  },
]

describe('whatever was done to a log', () => {
  it('the check finds what the store would refuse or has lost, and a repair that accepts it mends that', async () => {
    const kind = fc.nat({ max: damages.length - 1 })
    const real = fc.double({ min: 0, max: 0.999_999, noNaN: true })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(kind, real, real), { minLength: 1, maxLength: 2 }),
        fc.boolean(),
        async (all, keepClean) => {
          await fresh()
          for (const [i, a, b] of all) {
            const files = await segments()
            if (files.length > 0) await damages[i](files, a, b)
          }
          // The store believes a file that was written at its stop; the check never does.
          await rm(join(directory, 'clean'), { force: true })
          if (!keepClean) for (const index of await filesIn(logDirectory, '.index')) await unlink(index)
          const found = await errors()
          await cp(directory, `${directory}-opened`, { recursive: true })
          const before = directory
          directory = `${directory}-opened`
          const outcome = await withLog(async (log) =>
            (await readableIn(log)).length < log.stableOffset - log.startOffset ? 'lost' : 'whole',
          ).catch(() => 'refused')
          await rm(directory, { recursive: true })
          directory = before
          const isRefused = found.some(({ state }) => ['hole', 'overlap', 'misnamed'].includes(state))
          const lost = found.some(
            ({ state, offset = 0, nextOffset = 0 }) =>
              ['damaged', 'missing'].includes(state) && nextOffset > offset,
          )
          expect(isRefused ? 'refused' : lost ? 'lost' : 'whole').toBe(outcome)
          const dry = told(await repair({ dryRun: true, acceptLoss: true }))
          const steps = await repair({ acceptLoss: true })
          if (steps.some(({ result }) => result === 'not done')) return
          expect(dry.length > 0).toBe(steps.length > 0)
          expect(await errors()).toEqual([])
          await withLog(async (log) => {
            const { endOffset } = log
            await log.append(sampleBatch({ baseOffset: endOffset }), endOffset, 1, 'fsync')
            expect((await log.read(endOffset, 1)).length).toBeGreaterThan(0)
          })
        },
      ),
      { numRuns: 25 },
    )
  })
})

describe('dumping a file', () => {
  const dumped = async (path: string, offsets = {}): Promise<string[]> => {
    const parts: string[] = []
    for await (const part of dumpBatches(path, platform.checksum, offsets)) parts.push(lineOf(part))
    return parts
  }
  const lineOf = (part: DumpedPart): string => {
    if (part.kind === 'batch') return `batch at ${part.position}`
    return part.kind === 'gap' ? `gap ${part.offset} to ${part.endOffset}` : `torn at ${part.position}`
  }

  it('goes on after damage, and tells the torn end', async () => {
    const path = (await segments())[3]
    const starts = [...batchStarts(await readFile(path))]
    await flip(path, starts[1] + 80)
    await appendFile(path, 'half')
    expect(await dumped(path)).toEqual([
      `batch at ${starts[0]}`,
      'gap 20 to 22',
      `batch at ${starts[2]}`,
      expect.stringMatching(/^(torn at|gap 24)/),
    ])
    expect(await dumped(path, { from: 22 })).toEqual([`batch at ${starts[2]}`, expect.anything()])
    expect(await dumped(path, { to: 19 })).toEqual([`batch at ${starts[0]}`])
  })

  it('reads what a start has cut off the end, for there were whole batches in it', async () => {
    const path = (await segments())[3]
    const { size } = await stat(path)
    const [old] = await segments()
    await appendFile(path, Buffer.concat([Buffer.from('junk'), await readFile(old)]))
    expect(await readable()).toEqual(range(0, 24))
    expect((await stat(path)).size).toBe(size)
    const kept = `${id.topicId}-0-${name(18)}.cut-at-${size}`
    expect(await readdir(join(directory, 'quarantine'))).toEqual([kept])
    const parts = await dumped(join(directory, 'quarantine', kept))
    expect(parts).toEqual([
      'gap 0 to 0',
      ...[...batchStarts(await readFile(old))].map((at) => `batch at ${at + 4}`),
    ])
    // The same once more is kept once; an end without a whole batch is not kept.
    await appendFile(path, Buffer.concat([Buffer.from('junk'), await readFile(old)]))
    expect(await readable()).toEqual(range(0, 24))
    await appendFile(path, (await readFile(old)).subarray(0, 100))
    expect(await readable()).toEqual(range(0, 24))
    expect(await readdir(join(directory, 'quarantine'))).toEqual([kept])
  })

  it('of zeros, however large, takes little memory', async () => {
    const path = join(directory, name(0))
    await writeFile(path, '')
    await truncate(path, 256 * 1024 * 1024)
    const script = `
      const { dumpBatches } = await import('ratatoskr/adapters/disk')
      const { nodePlatform } = await import('ratatoskr/adapters/node')
      for await (const part of dumpBatches(${JSON.stringify(path)}, nodePlatform().checksum)) console.log(part.kind)
      console.log(process.resourceUsage().maxRSS)`
    const options = ['--conditions=source', '--input-type=module', '-e', script]
    const [kind, maxRssKilobytes] = execFileSync(process.execPath, options, { encoding: 'utf8' }).split('\n')
    expect(kind).toBe('torn')
    expect(Number(maxRssKilobytes)).toBeLessThan(160_000)
  })

  it('reads what is in quarantine, and refuses other names', async () => {
    const kept = join(directory, `${id.topicId}-0-${name(6)}.2`)
    await copyFile((await segments())[1], kept)
    expect((await dumped(kept)).length).toBe(3)
    await expect(dumped(join(directory, 'format.json'))).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    await expect(dumped(join(logDirectory, name(7)))).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  })
})
