/** `log dump`, `log verify` and `log repair`: what they print, where, and their exit codes. */
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { jsonLines, type RunResult, runHere } from '../testing/run-here.ts'

let home: string
let data: string
let segment: string
let sample: string

const startBroker = (): Promise<EmbeddedBroker> =>
  startTestBroker({ storage: diskStorage({ directory: data }) })

beforeAll(async () => {
  sample = await mkdtemp(join(tmpdir(), 'ratatoskr-log-sample-'))
  data = join(sample, 'data')
  const broker = await startBroker()
  await broker.createTopic('orders')
  for (const payload of ['first', 'second', 'third']) await broker.publish('orders', payload, { key: 'k' })
  await broker.stop()
})
afterAll(() => rm(sample, { recursive: true, force: true }))

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'ratatoskr-log-'))
  data = join(home, 'data')
  await copyDirectory(join(sample, 'data'), data)
  segment = await segmentWith('second')
})
afterEach(() => rm(home, { recursive: true, force: true }))

async function copyDirectory(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const target = join(to, path.slice(from.length))
    await mkdir(entry.isDirectory() ? target : dirname(target), { recursive: true })
    if (entry.isFile()) await copyFile(path, target)
  }
}

/** The segment below the data directory that holds a text. */
async function segmentWith(text: string): Promise<string> {
  for (const entry of await readdir(join(data, 'logs'), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && (await readFile(path)).includes(text)) return path
  }
  throw new Error('no segment holds it')
}

const run = (...args: string[]): Promise<RunResult> => runHere(['log', ...args], { cwd: home })

async function damage(path: string, text: string): Promise<void> {
  const bytes = await readFile(path)
  bytes[bytes.indexOf(text)] ^= 1
  await writeFile(path, bytes)
}

const payloads = ({ stdout }: RunResult): unknown[] =>
  jsonLines<{ offset: number; payload: string }>(stdout).map(({ offset, payload }) => [offset, payload])

describe('log dump', () => {
  it('prints records, or headers, or some of them', async () => {
    expect(payloads(await run('dump', segment, '--text'))).toEqual([
      [0, 'first'],
      [1, 'second'],
      [2, 'third'],
    ])
    expect(payloads(await run('dump', segment))[0]).toEqual([0, Buffer.from('first').toString('base64')])
    expect(payloads(await run('dump', segment, '--text', '--from', '1', '--to', '2'))).toEqual([
      [1, 'second'],
    ])
    const headers = jsonLines<{ baseOffset: number }>((await run('dump', segment, '--headers')).stdout)
    expect(headers.map(({ baseOffset }) => baseOffset)).toEqual([0, 1, 2])
  })

  it('goes on after damage, and names it on stderr', async () => {
    await damage(segment, 'second')
    const result = await run('dump', segment, '--text')
    expect(payloads(result)).toEqual([
      [0, 'first'],
      [2, 'third'],
    ])
    expect([result.code, result.stderr]).toEqual([
      1,
      expect.stringContaining('offsets 1 to 1 are lost to damage'),
    ])
  })

  it('names the torn end', async () => {
    await appendFile(segment, 'half a batch')
    const result = await run('dump', segment, '--text')
    expect([result.code, payloads(result).length]).toEqual([1, 3])
    expect(result.stderr).toContain('a half-written end')
  })

  it('prints the changes of a state file', async () => {
    const [file] = await readdir(join(data, 'state'))
    const changes = jsonLines<{ key: string; version: number; value: string | null }>(
      (await run('dump', join(data, 'state', file), '--text')).stdout,
    )
    const topic = changes.find(({ key }) => key === 'topics/default/orders')
    expect([topic?.version, JSON.parse(topic?.value ?? '').deleting]).toEqual([1, false])
    const coded = jsonLines<{ value: string }>((await run('dump', join(data, 'state', file))).stdout)
    expect(Buffer.from(coded[0].value, 'base64').toString()).toBe(changes[0].value)
  })

  it.each([
    [['dump', 'notes.txt'], 'a segment file is named by'],
    [['dump', '00000000000000000000.log'], 'cannot be read'],
    [['dump', '00000000000000000000.log', '--from', 'soon'], '--from takes an offset'],
    [['verify', '.'], 'no data directory'],
    [['verify', 'data', '-o', 'xml'], '-o takes table, json, ndjson'],
    [['repair', '.'], 'no data directory'],
    [['repair', 'data', '--set-aside', 'format.json'], 'a segment below the data directory expected'],
  ])('%j is refused', async (args, told) => {
    const { code, stderr } = await run(...args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(told)])
  })
})

describe('log verify', () => {
  it('says that nothing is wrong, in each form of output', async () => {
    const table = await run('verify', data)
    expect([table.code, table.stderr]).toEqual([0, expect.stringContaining('no damage')])
    expect(table.stdout.toString()).toMatch(/^SEVERITY +FILE +STATE/)
    const json: object[] = JSON.parse((await run('verify', data, '-o', 'json')).stdout.toString())
    expect(jsonLines((await run('verify', data, '-o', 'ndjson')).stdout)).toEqual(json)
  })

  it('checks the directory of the configuration when none is named', async () => {
    const { code, stdout } = await run('verify', '-o', 'json')
    expect([code, JSON.parse(stdout.toString()).length]).toEqual([0, expect.any(Number)])
    await unlink(join(data, 'format.json'))
    expect((await run('verify')).code).toBe(1)
  })

  it('exits with 0 for a torn end, with 1 for damage, and says what to do', async () => {
    await appendFile(segment, 'half a batch')
    const torn = await run('verify', data, '-o', 'json')
    expect([torn.code, torn.stdout.toString()]).toEqual([0, expect.stringContaining('"torn"')])
    await damage(segment, 'second')
    const { code, stdout, stderr } = await run('verify', data, '-o', 'ndjson')
    expect([code, stderr]).toEqual([1, expect.stringContaining('1 errors')])
    expect(jsonLines(stdout)).toContainEqual(
      expect.objectContaining({ severity: 'error', state: 'damaged', offset: 1, advice: expect.any(String) }),
    )
  })

  it('works while a broker runs', async () => {
    const broker = await startBroker()
    const { code, stdout } = await run('verify', data, '-o', 'json')
    await broker.stop()
    expect([code, stdout.toString()]).toEqual([
      0,
      expect.stringContaining(`process ${process.pid} runs on it`),
    ])
  })
})

describe('log repair', () => {
  it('says what it would do, does it, and then there is nothing to do', async () => {
    await appendFile(segment, 'half a batch')
    const rows = async (...args: string[]) => {
      const { code, stdout, stderr } = await run('repair', data, '-o', 'json', ...args)
      const steps: { action: string; result: string }[] = JSON.parse(stdout.toString())
      return { code, stderr, steps: steps.map(({ action, result }) => `${result}: ${action}`) }
    }
    expect(await rows('--dry-run')).toEqual({
      code: 0,
      stderr: expect.stringContaining('1 things to do'),
      steps: ['would do: cut end'],
    })
    expect((await rows()).steps).toEqual(['done: cut end'])
    expect((await rows()).steps).toEqual([])
    await damage(segment, 'second')
    expect(await rows('--dry-run')).toMatchObject({
      code: 1,
      steps: expect.arrayContaining(['not done: accept loss']),
    })
    expect(await rows('--accept-loss')).toMatchObject({
      code: 0,
      steps: expect.arrayContaining(['done: accept loss']),
    })
    expect((await run('verify', data)).code).toBe(0)
    const broker = await startBroker()
    expect((await broker.publish('orders', 'fourth')).offset).toBe(3)
    await broker.stop()
  })

  it('refuses while a broker runs, and names it', async () => {
    const broker = await startBroker()
    const { code, stderr } = await run('repair', data)
    await broker.stop()
    expect([code, stderr]).toEqual([6, expect.stringContaining(`process ${process.pid}`)])
  })
})

describe('a state that is gone', () => {
  it('is an error until it is accepted; then a broker starts, and the logs can still be read', async () => {
    await rm(join(data, 'state'), { recursive: true })
    await expect(startBroker()).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
    const found = await run('verify', data, '-o', 'json')
    expect([found.code, found.stdout.toString()]).toEqual([1, expect.stringContaining('--accept-loss')])
    expect((await run('repair', data)).code).toBe(1)
    expect((await run('repair', data, '--accept-loss')).code).toBe(0)
    expect((await run('verify', data)).code).toBe(0)
    const broker = await startBroker()
    await broker.stop()
    expect(jsonLines((await run('dump', segment, '--text')).stdout)).not.toEqual([])
  })
})

describe('a file in place of a partition', () => {
  it('is named by the check, and publishers are told a code and what to do', async () => {
    const partition = dirname(segment)
    await rm(partition, { recursive: true })
    await writeFile(partition, 'hello')
    const { code, stdout } = await run('verify', data, '-o', 'json')
    expect([code, stdout.toString()]).toEqual([1, expect.stringContaining('the broker refuses this log')])
    const broker = await startBroker()
    await expect(Promise.resolve(broker.publish('orders', 'x'))).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      message: expect.stringContaining('ratatoskr log verify'),
    })
    await broker.stop()
  })
})
