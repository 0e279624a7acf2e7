/** A clean stop notes how far the state goes: one whose files were cut short since is refused, and not taken for whole. */
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { batchStarts, type Stores, utf8, utf8Text } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { diskStorage, repairDataDirectory, verifyDataDirectory } from '../index.ts'
import { makeDirectory } from '../testing/setups.ts'

const topicId = '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa'
const platform = nodePlatform({ logger: silentLogger })
const copies = ['log', 'copy'] as const
const refused = {
  code: 'RTK_STORE_CORRUPT',
  message: expect.stringMatching(/ends before what the last stop left.*log repair --accept-loss/),
}

let root: string
let directory: string
beforeEach(async () => {
  root = await makeDirectory()
  directory = join(root, 'data')
  await mkdir(directory)
})
afterEach(() => rm(root, { recursive: true, force: true }))

const stateFile = (copy: string, generation = 1): string =>
  join(directory, 'state', `${String(generation).padStart(20, '0')}.${copy}`)

async function started(): Promise<Stores> {
  const stores = diskStorage({ directory }).open(platform)
  await stores.state.start()
  await stores.logs.start()
  return stores
}

async function stop({ logs, state }: Stores): Promise<void> {
  await logs.stop()
  await state.stop()
}

async function put(state: Stores['state'], ...keys: string[]): Promise<void> {
  for (const key of keys) await state.put(key, utf8(key))
}

/** Some changes and, unless it is refused, a log; then a clean stop. */
async function written({ withLog = true } = {}): Promise<void> {
  const stores = await started()
  await put(stores.state, 'a', 'b', 'c')
  if (withLog) {
    const log = await stores.logs.openLog({ topicId, partition: 0 }, { segmentBytes: 500 })
    await log.append(sampleBatch({ baseOffset: 0, count: 2, payloadBytes: 30 }), 0, 2, 'fsync')
  }
  await stop(stores)
}

/** What a start finds in the state; stops again. */
async function found(): Promise<string> {
  const stores = await started()
  const keys: string[] = []
  for await (const { key } of stores.state.list('')) keys.push(key)
  await stop(stores)
  return keys.join('')
}

async function errors(): Promise<string[]> {
  const lines: string[] = []
  for await (const { severity, file, state, problem } of verifyDataDirectory(directory, platform.checksum))
    if (severity === 'error') lines.push(`${file} ${state}: ${problem}`)
  return lines
}

async function repaired(acceptLoss: boolean, dryRun = false): Promise<string[]> {
  const options = { dryRun, acceptLoss, setAside: [] }
  const lines: string[] = []
  for await (const { result, action, file } of repairDataDirectory(directory, platform, options))
    if (action !== 'orphan') lines.push(`${result}: ${action} ${file}`)
  return lines
}

/** Every file with its bytes, but for who holds the directory. */
async function contents(): Promise<Record<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && entry.name !== 'ratatoskr.lock')
  const all: Record<string, string> = {}
  for (const { parentPath, name } of files)
    all[join(parentPath, name)] = (await readFile(join(parentPath, name))).toString('hex')
  return all
}

type Damage = (path: string, bytes: Uint8Array, starts: readonly number[]) => Promise<void>
const damages: [what: string, left: string, damage: Damage][] = [
  ['cut within the last change', 'ab', (path, bytes) => truncate(path, bytes.length - 7)],
  ['cut at the last change', 'ab', (path, _, starts) => truncate(path, starts[3])],
  ['cut at the first change', '', (path, _, starts) => truncate(path, starts[1])],
  ['with zeros at the end', 'ab', (path, bytes) => writeFile(path, new Uint8Array(bytes).fill(0, -9))],
  ['damaged at the end', 'ab', (path, bytes) => writeFile(path, bytes.with(-1, bytes[bytes.length - 1] ^ 1))],
]

describe.each(damages)('both copies %s', (_, left, damage) => {
  const damaged = async (...names: string[]): Promise<void> => {
    const bytes = new Uint8Array(await readFile(stateFile('log')))
    for (const copy of names) await damage(stateFile(copy), bytes, [...batchStarts(bytes)])
  }

  it('after a clean stop keep the broker from starting, and no file is changed', async () => {
    await written()
    await cp(directory, join(root, 'before'), { recursive: true })
    await damaged(...copies)
    const before = await contents()
    expect(await errors()).toContainEqual(
      expect.stringMatching(/^state short: .*the broker refuses to start$/),
    )
    await expect(started()).rejects.toMatchObject(refused)
    expect(await repaired(false)).toEqual([expect.stringMatching(/^not done: .* state$/)])
    expect(await repaired(true, true)).toEqual([expect.stringMatching(/^would do: .* state$/)])
    expect(await contents()).toEqual(before)
    // Either copy is enough.
    const name = `${'1'.padStart(20, '0')}.copy`
    await cp(join(root, 'before/state', name), join(directory, 'state', name))
    expect(await errors()).toEqual([])
    expect(await found()).toBe('abc')
  })

  it('count when that is accepted, and the logs are still those that were closed', async () => {
    await written()
    await damaged(...copies)
    expect(await repaired(true)).toEqual([expect.stringMatching(/^done: .* state$/)])
    expect(await errors()).toEqual([])
    await rm(join(directory, 'logs', topicId), { recursive: true })
    expect(await errors()).toEqual([expect.stringMatching(/missing: offsets 0 to 1/)])
    expect(await found()).toBe(left)
  })

  it('after a crash are what a crash leaves', async () => {
    await written()
    await rm(join(directory, 'clean'))
    await damaged(...copies)
    expect(await errors()).toEqual([])
    expect(await found()).toBe(left)
  })

  it.each(copies)('but for the other: .%s alone loses nothing', async (copy) => {
    await written()
    await damaged(copy)
    expect(await errors()).toEqual([])
    expect(await found()).toBe('abc')
  })
})

it.each([true, false])('a state that is gone is refused, with logs: %s', async (withLog) => {
  await written({ withLog })
  for (const copy of copies) await rm(stateFile(copy))
  expect(await errors()).toContainEqual(expect.stringContaining('the broker refuses to start'))
  await expect(started()).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
  expect(await repaired(false)).toEqual(['not done: write state state'])
  expect(await repaired(true)).toEqual(['done: write state state'])
  expect(await errors()).toEqual([])
  expect(await found()).toBe('')
})

it('a repair of something else keeps the note for as long as nobody has accepted the loss', async () => {
  await written()
  for (const copy of copies) await truncate(stateFile(copy), 300)
  const folder = join(directory, 'logs', topicId, '0')
  await rm(join(directory, 'logs', topicId, '0', `${'0'.repeat(20)}.index`))
  await writeFile(join(folder, `${'0'.repeat(20)}.log`), 'half', { flag: 'a' })
  expect(await repaired(false)).toContainEqual(expect.stringContaining('done: cut end'))
  await expect(started()).rejects.toMatchObject(refused)
})

it('an older state is refused in place of the one that was there', async () => {
  await written()
  await cp(join(directory, 'state'), join(root, 'backup'), { recursive: true })
  const stores = await started()
  await put(stores.state, 'd')
  await stop(stores)
  await rm(join(directory, 'state'), { recursive: true })
  await cp(join(root, 'backup'), join(directory, 'state'), { recursive: true })
  await expect(started()).rejects.toMatchObject(refused)
})

describe('a note that a start did not come to remove', () => {
  /** Starts nothing but the state: the logs, which never started, have left the note where it was. */
  async function goOn(use: (state: Stores['state']) => Promise<void>): Promise<void> {
    const { state } = diskStorage({ directory }).open(platform)
    await state.start()
    await use(state)
    await state.stop()
    expect(await readdir(directory)).toContain('clean')
  }

  it('agrees with a state that has more', async () => {
    await written()
    await goOn((state) => put(state, 'd'))
    expect(await errors()).toEqual([])
    expect(await found()).toBe('abcd')
  })

  it('agrees with a newer generation, however short', async () => {
    const large = new Uint8Array(400_000).fill(1)
    const stores = await started()
    await stores.state.put('a', large)
    await stop(stores)
    await goOn(async (state) => {
      for (const _ of [1, 2, 3]) await state.put('a', large)
      await put(state, 'a', 'b', 'c')
    })
    expect(await readdir(join(directory, 'state'))).toContain(`${'2'.padStart(20, '0')}.log`)
    expect(await found()).toBe('abc')
  })
})

it('a state that is written after the logs have stopped agrees with the note', async () => {
  const { logs, state } = await started()
  await put(state, 'a', 'b')
  await logs.stop()
  await put(state, 'c')
  await state.stop()
  expect(await errors()).toEqual([])
  const again = await started()
  expect(utf8Text((await again.state.get('c'))?.value ?? utf8(''))).toBe('c')
  await stop(again)
})
