/** Which generation of the state counts: one without a whole change never does, and none is destroyed by the start. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { nodePlatform } from 'ratatoskr/adapters/node'
import {
  BatchBuilder,
  type LogFields,
  type Logger,
  type Stores,
  stampBatch,
  utf8,
  utf8Text,
} from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { makeDirectory } from '../testing/setups.ts'
import type { Finding } from '../tools/finding.ts'
import { verifyDataDirectory } from '../tools/inspect-directory.ts'
import { repairDataDirectory } from '../tools/repair.ts'

const topicId = '6b1f5f3e-8a52-4a1d-9d0e-3f5b7c2a1e90'
const platform = nodePlatform()

let directory: string
beforeEach(async () => {
  directory = await makeDirectory()
})
afterEach(() => rm(directory, { recursive: true, force: true }))

type Line = { level: string; message: string; fields: LogFields | undefined }

const name = (generation: number, ending: 'log' | 'copy'): string =>
  `${String(generation).padStart(20, '0')}.${ending}`
const stateFile = (generation: number, ending: 'log' | 'copy'): string =>
  join(directory, 'state', name(generation, ending))
const both = (generation: number): string[] => [name(generation, 'copy'), name(generation, 'log')]
const inState = async (): Promise<string[]> => (await readdir(join(directory, 'state'))).sort()
const quarantined = async (): Promise<string[]> =>
  (await readdir(join(directory, 'quarantine', 'state')).catch(() => [])).sort()

function storesOn(lines: Line[] = [], fileSystem = nodeFileSystem): Stores {
  const note = (level: string) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields })
  }
  const logger: Logger = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    child: () => logger,
  }
  return diskStorage({ directory, fileSystem }).open(nodePlatform({ logger }))
}

/** Starts on the directory, reads everything and stops. */
async function opened(
  fileSystem = nodeFileSystem,
): Promise<{ found: Record<string, string>; lines: Line[] }> {
  const lines: Line[] = []
  const { state } = storesOn(lines, fileSystem)
  await state.start()
  const found: Record<string, string> = {}
  for await (const { key, value } of state.list('')) found[key] = utf8Text(value)
  await state.stop()
  return { found, lines }
}

/** A state of two keys; with a log of its topic, unless told otherwise. */
async function written(options: { log: boolean } = { log: true }): Promise<void> {
  const { logs, state } = storesOn()
  await state.start()
  await state.put('topics/default/orders', utf8(JSON.stringify({ id: topicId })))
  await state.put('offsets/a', utf8('7'))
  if (options.log) {
    await logs.start()
    const log = await logs.openLog({ topicId, partition: 0 }, { segmentBytes: 10_000 })
    const builder = new BatchBuilder({ checksum: platform.checksum })
    builder.add({ payload: utf8('a record'), timestampMs: 1 })
    const batch = builder.build()
    stampBatch(batch, 0, 0)
    await log.append(batch, 0, 1, 'fsync')
    await logs.stop()
  }
  await state.stop()
}
const all = { 'topics/default/orders': JSON.stringify({ id: topicId }), 'offsets/a': '7' }

async function place(generation: number, bytes: Uint8Array): Promise<void> {
  for (const ending of ['log', 'copy'] as const) await writeFile(stateFile(generation, ending), bytes)
}

async function errors(): Promise<Finding[]> {
  const found: Finding[] = []
  for await (const finding of verifyDataDirectory(directory, platform.checksum)) {
    if (finding.severity === 'error') found.push(finding)
  }
  return found
}

async function repaired(acceptLoss: boolean): Promise<string[]> {
  const done: string[] = []
  const options = { dryRun: false, acceptLoss, setAside: [] }
  for await (const { action, result } of repairDataDirectory(directory, platform, options)) {
    done.push(`${result}: ${action}`)
  }
  return done
}

const hollows = [
  ['nothing', new Uint8Array(0)],
  ['zeros', new Uint8Array(4_096)],
  ['garbage', Uint8Array.from({ length: 999 }, (_, i) => (i * 7_919) % 251)],
] as const

describe('the newest generation', () => {
  it.each(hollows)('that holds %s does not count where an older one is whole', async (_, bytes) => {
    await written()
    await place(2, bytes)
    expect(await errors()).toMatchObject(
      ['log', 'copy'].map((ending) => ({
        file: `state/0000000000000000000${2}.${ending}`,
        state: 'damaged',
        advice: expect.stringContaining('the generation before'),
      })),
    )
    const { found, lines } = await opened()
    expect(found).toEqual(all)
    expect(lines.map(({ level }) => level)).toEqual(['error'])
    expect(lines[0].message).toContain(name(2, 'log'))
    expect(lines[0].message).toContain('the generation before')
    expect(await quarantined()).toEqual(both(2))
    expect(await inState()).toEqual(both(3))
    expect(await opened()).toEqual({ found: all, lines: [] })
    expect(await errors()).toEqual([])
  })

  it('that is hollow, and the one before it too, leave the third', async () => {
    await written()
    await place(2, hollows[1][1])
    await place(7, hollows[2][1])
    expect((await opened()).found).toEqual(all)
    expect(await quarantined()).toEqual([...both(2), ...both(7)].sort())
    expect(await inState()).toEqual(both(8))
  })

  it('that is hollow is kept where there is no room to write the state anew, and nothing older is removed', async () => {
    await written()
    await place(2, hollows[1][1])
    const disk = new FaultyFileSystem(nodeFileSystem)
    disk.inject({ call: 'write', suffix: '.tmp', code: 'ENOSPC' })
    const { found, lines } = await opened(disk)
    expect(found).toEqual(all)
    expect(lines.map(({ level }) => level)).toEqual(['error'])
    expect(await inState()).toEqual([...both(1), ...both(2)].sort())
    expect((await opened()).found).toEqual(all)
  })

  it('that cannot be read is not guessed at, though the other copy is empty', async () => {
    await written()
    await place(2, hollows[1][1])
    await writeFile(stateFile(2, 'log'), '')
    const disk = new FaultyFileSystem(nodeFileSystem)
    disk.inject({ call: 'read', suffix: '2.copy', code: 'EIO' })
    await expect(opened(disk)).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect(await inState()).toEqual([...both(1), ...both(2)].sort())
  })

  it('of an empty state counts, for it begins with a batch that changes nothing', async () => {
    await written()
    const older = await readFile(stateFile(1, 'log'))
    const { state } = storesOn()
    await state.start()
    for (const key of Object.keys(all)) await state.delete(key)
    await state.stop()
    // Damage to one copy lets the start write the empty table anew.
    await rm(stateFile(1, 'copy'))
    await opened()
    expect(await inState()).toEqual(both(2))
    await place(1, older)
    expect(await errors()).toEqual([])
    expect(await opened()).toEqual({ found: {}, lines: [] })
    expect(await inState()).toEqual(both(2))
  })
})

describe('the only generation', () => {
  it.each(hollows)(
    'that holds %s lets no broker start that has logs, and is left as it is',
    async (_, bytes) => {
      await written()
      await place(1, bytes)
      expect(await errors()).toMatchObject(
        ['log', 'copy'].map(() => ({
          state: 'damaged',
          advice: expect.stringContaining('log repair --accept-loss'),
        })),
      )
      await expect(opened()).rejects.toMatchObject({
        code: 'RTK_STORE_CORRUPT',
        message: expect.stringContaining('log repair --accept-loss'),
      })
      expect(await inState()).toEqual(both(1))
      expect(new Uint8Array(await readFile(stateFile(1, 'log')))).toEqual(bytes)
      expect(await quarantined()).toEqual([])
    },
  )

  it('without a whole change is set aside for an empty state when the loss is accepted', async () => {
    await written()
    await place(1, hollows[1][1])
    expect(await repaired(false)).toContain('not done: write state')
    expect(await quarantined()).toEqual([])
    expect(await repaired(true)).toContain('done: write state')
    expect(await quarantined()).toEqual(both(1))
    expect(await opened()).toEqual({ found: {}, lines: [] })
  })

  it.each(hollows)('that holds %s is set aside where there are no logs', async (_, bytes) => {
    await written({ log: false })
    await place(1, bytes)
    expect((await errors()).length).toBe(2)
    const { found, lines } = await opened()
    expect(found).toEqual({})
    expect(lines.map(({ level }) => level)).toEqual(['error'])
    expect(await quarantined()).toEqual(both(1))
    expect(new Uint8Array(await readFile(join(directory, 'quarantine/state', name(1, 'log'))))).toEqual(bytes)
    expect(await opened()).toEqual({ found: {}, lines: [] })
  })

  it('that an earlier version made, and in which nothing was stored yet, is no damage', async () => {
    await written({ log: false })
    for (const bytes of [new Uint8Array(0), utf8('the half of a change')]) {
      await rm(join(directory, 'state'), { recursive: true })
      await mkdir(join(directory, 'state'))
      await writeFile(stateFile(1, 'log'), bytes)
      expect(await errors()).toEqual([])
      const { found, lines } = await opened()
      expect([found, lines.map(({ level }) => level)]).toEqual([{}, ['warn']])
      expect((await inState()).map((file) => basename(file))).toEqual(both(2))
    }
  })

  it('with a whole change and garbage behind it is cut, as after a crash', async () => {
    await written()
    await place(1, Buffer.concat([await readFile(stateFile(1, 'log')), hollows[2][1]]))
    expect(await errors()).toEqual([])
    const { found, lines } = await opened()
    expect([found, lines.map(({ level }) => level)]).toEqual([all, ['warn']])
  })
})

describe('no generation at all', () => {
  const removals: [what: string, remove: () => Promise<void>][] = [
    ['without state/', () => rm(join(directory, 'state'), { recursive: true })],
    [
      'with an empty state/',
      () => Promise.all(both(1).map((file) => rm(join(directory, 'state', file)))).then(),
    ],
    [
      'with nothing but what a rewrite left',
      async () => {
        await rename(stateFile(1, 'log'), `${stateFile(2, 'log')}.tmp`)
        await rm(stateFile(1, 'copy'))
      },
    ],
  ]

  it.each(removals)('%s lets no broker start that has logs, until that is accepted', async (_, remove) => {
    await written()
    await remove()
    const before = await readdir(directory, { recursive: true })
    expect(await errors()).toMatchObject([
      { file: 'state', state: 'missing', advice: expect.stringContaining('log repair --accept-loss') },
    ])
    await expect(opened()).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      message: expect.stringContaining('log repair --accept-loss'),
    })
    expect(await repaired(false)).toEqual(['not done: write state', 'not done: orphan'])
    const after = await readdir(directory, { recursive: true })
    expect(after.filter((path) => path !== 'ratatoskr.lock').sort()).toEqual(
      [...new Set([...before, 'state'])].sort(),
    )
    // The logs whose topics are gone stay where they are, and are told of.
    expect(await repaired(true)).toEqual(['done: write state', 'not done: orphan'])
    expect(await errors()).toEqual([])
    expect(await opened()).toEqual({ found: {}, lines: [] })
    expect(await readdir(join(directory, 'logs', topicId, '0'))).toContain(`${'0'.repeat(20)}.log`)
  })

  it('is a new directory where there are no segments, as a first start leaves it that was broken off', async () => {
    await mkdir(join(directory, 'state'))
    await mkdir(join(directory, 'logs', topicId, '0'), { recursive: true })
    await writeFile(join(directory, 'format.json'), '{"format":1}')
    await writeFile(`${stateFile(1, 'log')}.tmp`, 'half')
    expect(await errors()).toEqual([])
    expect(await opened()).toEqual({ found: {}, lines: [] })
    expect(await inState()).toEqual(both(1))
  })
})
