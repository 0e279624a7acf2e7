/** `log verify` and `log repair` of the directory of several workers. */
import { appendFile, cp, mkdtemp, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { connect } from 'ratatoskr/client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ServerProcess } from '../../../contract-tests/batteries/harness/server-process.ts'
import { runHere } from '../testing/run-here.ts'

interface Row {
  readonly severity?: string
  readonly result?: string
  readonly action?: string
  readonly file: string
  readonly state?: string
  readonly problem?: string
  readonly reason?: string
  readonly advice?: string
}

const partitions = 6
const segment = '00000000000000000000.log'
let home: string
let sample: string
let data: string
let topicId: string

beforeAll(async () => {
  sample = await mkdtemp(join(tmpdir(), 'ratatoskr-log-workers-sample-'))
  await using server = await ServerProcess.start({ directory: sample, args: ['--workers', '3'] })
  {
    await using client = await connect(server.urls.tcp)
    await client.createTopic('orders', { partitions })
    for (let partition = 0; partition < partitions; partition++)
      await client.publish('orders', `${partition}`, { partition })
    // What waits for later is the first worker's, whatever the number of its log.
    await client.publish('orders', 'later', { delayMs: 3_600_000 })
    await client.commit('orders', 'g', [{ partition: 0, offset: 1 }])
    topicId = (await client.describeTopic('orders')).id
  }
  server.child.kill('SIGTERM')
  await server.exited
}, 60_000)
afterAll(() => rm(sample, { recursive: true, force: true }))

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'ratatoskr-log-workers-'))
  data = join(home, 'data')
  await cp(sample, data, { recursive: true })
})
afterEach(() => rm(home, { recursive: true, force: true }))

async function rowsOf(command: 'verify' | 'repair', ...args: string[]) {
  const { code, stdout, stderr } = await runHere(['log', command, data, '-o', 'json', ...args], { cwd: home })
  return { code, stderr, rows: stdout.length === 0 ? [] : (JSON.parse(stdout.toString()) as Row[]) }
}

const wrong = ({ rows }: { readonly rows: readonly Row[] }): string[] =>
  rows.filter(({ severity }) => severity !== 'ok').map((row) => `${row.severity} ${row.file} ${row.state}`)

/** Partitions of a worker, which one of three has two of. */
const partitionsOf = async (index: number): Promise<string[]> =>
  (await readdir(join(data, folderOf(index)))).sort()
const folderOf = (index: number): string => `${index === 0 ? '' : `workers/${index}/`}logs/${topicId}`

describe('log verify', () => {
  it('finds nothing wrong with what was stopped in order, or crashed', async () => {
    const found = await rowsOf('verify')
    expect([found.code, wrong(found)]).toEqual([0, []])
    for (const index of [0, 1, 2]) {
      for (const partition of await partitionsOf(index))
        expect(found.rows).toContainEqual(
          expect.objectContaining({ file: `${folderOf(index)}/${partition}/${segment}`, state: 'ok' }),
        )
    }
    for (const folder of ['', 'workers/1', 'workers/2']) await unlink(join(data, folder, 'clean'))
    expect(wrong(await rowsOf('verify')).filter((line) => !line.includes('index'))).toEqual([])
  })

  it('tells of a partition that no worker has, and of damage, where they are', async () => {
    const [lost] = await partitionsOf(1)
    const [damaged] = await partitionsOf(2)
    await unlink(join(data, 'workers/1/clean'))
    await rm(join(data, folderOf(1), lost), { recursive: true })
    const path = join(data, folderOf(2), damaged, segment)
    const bytes = await readFile(path)
    bytes[bytes.length - 1] ^= 1
    await writeFile(path, bytes)
    const found = await rowsOf('verify')
    expect([found.code, wrong(found).filter((line) => !line.includes('.index'))]).toEqual([
      1,
      [`error ${folderOf(1)}/${lost} missing`, `error ${folderOf(2)}/${damaged}/${segment} damaged`],
    ])
  })

  it('tells of a log in the folder of another worker, once', async () => {
    const [moved] = await partitionsOf(1)
    for (const folder of ['', 'workers/1', 'workers/2']) await unlink(join(data, folder, 'clean'))
    await rename(join(data, folderOf(1), moved), join(data, folderOf(0), moved))
    const found = await rowsOf('verify')
    expect([found.code, wrong(found)]).toEqual([1, [`error ${folderOf(0)}/${moved} displaced`]])
    expect(found.rows).toContainEqual(
      expect.objectContaining({ problem: expect.stringContaining('belongs in workers/1') }),
    )
    await rename(join(data, folderOf(0), moved), join(data, folderOf(2), moved))
    expect(wrong(await rowsOf('verify'))).toEqual([`error ${folderOf(2)}/${moved} displaced`])
    await rename(join(data, folderOf(2), moved), join(data, folderOf(1), moved))
    expect((await rowsOf('verify')).code).toBe(0)
  })

  it('tells of all partitions of a worker whose folder is gone', async () => {
    const lost = await partitionsOf(2)
    await rename(join(data, 'workers/2'), join(home, 'moved'))
    const found = await rowsOf('verify')
    expect([found.code, wrong(found)]).toEqual([
      1,
      lost.map((partition) => `error ${folderOf(2)}/${partition} missing`),
    ])
  })

  it('says when a count is missing which the folders of workers need, and checks them all the same', async () => {
    await unlink(join(data, 'workers/count'))
    const found = await rowsOf('verify')
    expect([found.code, wrong(found)]).toEqual([1, ['error workers/count refused']])
    expect(found.rows).toContainEqual(
      expect.objectContaining({
        problem: expect.stringContaining('is missing'),
        advice: expect.stringContaining('3 if no folder is gone'),
      }),
    )
    expect(await rowsOf('repair')).toMatchObject({ code: 78, rows: [] })
  })

  it('goes on when the folder of one worker is refused', async () => {
    for (const name of ['format.json', 'logs', 'state'])
      await rename(join(data, 'workers/1', name), join(home, name))
    expect(wrong(await rowsOf('verify'))).toContain('error workers/1 refused')
    expect((await rowsOf('verify')).rows).toContainEqual(
      expect.objectContaining({ file: expect.stringContaining(folderOf(2)), state: 'ok' }),
    )
  })

  it('names the whole directory to who names the folder of one worker', async () => {
    const { code, stderr } = await runHere(['log', 'verify', join(data, 'workers', '1')])
    expect([code, stderr]).toEqual([2, expect.stringContaining(`name the data directory itself, "${data}"`)])
  })
})

describe('log repair', () => {
  it('works in the folder of each worker', async () => {
    const [torn] = await partitionsOf(1)
    const file = `${folderOf(1)}/${torn}/${segment}`
    await appendFile(join(data, file), 'half a batch')
    expect((await rowsOf('repair', '--dry-run')).rows).toEqual([
      expect.objectContaining({ action: 'cut end', result: 'would do', file }),
    ])
    expect((await rowsOf('repair')).rows).toEqual([
      expect.objectContaining({ action: 'cut end', result: 'done', file }),
    ])
    expect((await readdir(join(data, 'workers/1/quarantine'))).length).toBe(1)
    expect((await rowsOf('repair')).rows).toEqual([])
  })

  it('takes a choice by its path below the data directory, and refuses one of what is whole', async () => {
    const [partition] = await partitionsOf(1)
    const file = `${folderOf(1)}/${partition}/${segment}`
    const { code, rows } = await rowsOf('repair', '--set-aside', file)
    expect([code, rows]).toEqual([
      1,
      [
        expect.objectContaining({
          file: 'workers/1',
          reason: expect.stringContaining(`${file} is not to be`),
        }),
      ],
    ])
  })

  it('leaves alone the folder that somebody holds', async () => {
    const storage = diskStorage({ directory: join(data, 'workers/2') }).open(
      nodePlatform({ logger: silentLogger }),
    )
    await storage.state.start()
    await storage.logs.start()
    const { code, rows } = await rowsOf('repair')
    await storage.logs.stop()
    await storage.state.stop()
    expect([code, rows]).toEqual([
      1,
      [expect.objectContaining({ file: 'workers/2', reason: expect.stringContaining('in use by') })],
    ])
  })
})

describe('serve and doctor', () => {
  it('refuse a directory whose workers nobody can count', async () => {
    await unlink(join(data, 'workers/count'))
    const served = await runHere(['serve', '--directory', data, '--workers', '1'], { cwd: home })
    expect([served.code, served.stderr]).toEqual([78, expect.stringContaining('would begin anew')])
    const { code, stdout } = await runHere(['doctor', '-o', 'json'], {
      cwd: home,
      environment: { RATATOSKR_STORAGE__DIRECTORY: data },
    })
    expect([code, JSON.parse(stdout.toString())]).toEqual([
      1,
      expect.arrayContaining([expect.objectContaining({ check: 'workers', result: 'failure' })]),
    ])
  })
})
