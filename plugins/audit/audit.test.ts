import {
  appendFile,
  type FileHandle,
  mkdtemp,
  open,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { observerEvents, PluginStage, pluginContract } from 'ratatoskr/contract-tests'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type AuditPluginOptions, auditPlugin, genesisHash, verifyAuditLog } from './index.ts'

let directory = ''
let file = ''

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-audit-'))
  file = join(directory, 'logs', 'audit.jsonl')
})
afterEach(() => {
  vi.restoreAllMocks()
  return rm(directory, { recursive: true, force: true })
})

for (const publishes of [false, true]) {
  pluginContract(`audit plugin, publishes: ${publishes}`, async () => ({
    subject: auditPlugin({ file, publishes, fsync: false, queueItemsMax: 1_000 }),
    teardown: async () => {},
  }))
}

/** One life of the plugin. @returns its stage */
async function run(
  act: (stage: PluginStage) => void | Promise<void>,
  options: Partial<AuditPluginOptions> = {},
) {
  const stage = new PluginStage(auditPlugin({ file, ...options }))
  await stage.setup()
  await act(stage)
  await stage.close()
  return stage
}

type Line = Record<string, unknown> & { readonly event: string }
const linesOf = async (path = file): Promise<string[]> =>
  (await readFile(path, 'utf8')).split('\n').slice(0, -1)
const entries = async (): Promise<Line[]> => (await linesOf()).map((line) => JSON.parse(line))
const eventsIn = async () => (await entries()).map((line) => line.event)

describe('the audit log', () => {
  it('records who did what, in order, with the time', async () => {
    await run((stage) => {
      for (const hook of ['connected', 'topicCreated', 'topicAltered', 'topicDeleted', 'denied'] as const) {
        stage.emit(hook, observerEvents[hook])
      }
      for (const hook of [
        'subscriberJoined',
        'subscriberLeft',
        'subscriberFailed',
        'disconnected',
      ] as const) {
        stage.emit(hook, observerEvents[hook])
      }
      stage.emit('deadLettered', observerEvents.deadLettered)
      stage.emit('profileStarted', observerEvents.profileStarted)
      stage.emit('messagePublished', observerEvents.messagePublished)
      stage.emit('publishFailed', observerEvents.publishFailed)
    })
    const principal = { name: 'alice', namespace: 'default' }
    const lines = await entries()
    expect(lines).toMatchObject([
      { seq: 1, event: 'auditOpened', time: '2025-01-01T00:00:00.000Z', previous: genesisHash },
      {
        seq: 2,
        event: 'connected',
        sessionId: 'session-1',
        transport: 'test',
        address: '127.0.0.1:51234',
        principal,
      },
      { event: 'topicCreated', topic: 'orders', principal, config: { partitions: 4 } },
      { event: 'topicAltered', topic: 'orders', principal },
      { event: 'topicDeleted', topic: 'orders', principal },
      { event: 'denied', action: 'topic:delete', resource: 'orders', principal },
      { event: 'subscriberJoined', topic: 'orders', group: 'billing', subscriptionId: 'sub-1', principal },
      { event: 'subscriberLeft', topic: 'orders' },
      { event: 'subscriberFailed', code: 'RTK_STORE_FULL' },
      { event: 'disconnected', sessionId: 'session-1' },
      { event: 'deadLettered', topic: 'orders', reason: observerEvents.deadLettered.reason },
      { event: 'profileStarted', principal, kind: 'cpu', durationMs: 1_000 },
      { event: 'auditClosed' },
    ])
    for (let i = 1; i < lines.length; i++) expect(lines[i].previous).toBe(lines[i - 1].hash)
  })

  it('records publishes when asked, without a byte of them', async () => {
    await run(
      (stage) => {
        stage.emit('messagePublished', observerEvents.messagePublished)
        stage.emit('publishFailed', observerEvents.publishFailed)
      },
      { publishes: true },
    )
    const [, published, failed] = await entries()
    expect(published).toMatchObject({
      event: 'messagePublished',
      topic: 'orders',
      partition: 1,
      baseOffset: 0,
      recordCount: 3,
    })
    expect(published).not.toHaveProperty('batch')
    expect(failed).toMatchObject({ event: 'publishFailed', code: 'RTK_STORE_FULL', recordCount: 3 })
  })

  it('is readable by its owner alone', async () => {
    await run(() => {})
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  it('goes on with the chain after a restart', async () => {
    for (let life = 0; life < 3; life++)
      await run((stage) => stage.emit('topicCreated', observerEvents.topicCreated))
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, lines: 9, droppedEvents: 0 })
    expect((await entries()).map((line) => line.seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('goes on after a crash that wrote nothing at the end', async () => {
    const crashed = new PluginStage(auditPlugin({ file }))
    await crashed.setup()
    crashed.emit('connected', observerEvents.connected)
    await crashed.drained()
    await run(() => {})
    expect(await eventsIn()).toEqual(['auditOpened', 'connected', 'auditOpened', 'auditClosed'])
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, lines: 4 })
    await crashed.plugin.close?.()
  })

  it.each([
    ['half a line', (line: string) => line.slice(0, 40)],
    ['a line without its line feed', (line: string) => line],
    ['one byte', () => '{'],
    ['zeros, as file systems leave them', () => '\0'.repeat(5_000)],
    ['a garbage line', () => 'garbage\n'],
    ['an empty line', () => '\n'],
  ])('sets %s at the end aside, and says so', async (_, tear) => {
    await run((stage) => stage.emit('connected', observerEvents.connected))
    const intact = await linesOf()
    const torn = tear(intact[1])
    await appendFile(file, torn)
    expect(await verifyAuditLog(file)).toMatchObject({ valid: false, lines: 3, brokenLine: 4 })
    await run(() => {})
    const lines = await linesOf()
    expect(lines.slice(0, 3)).toEqual(intact)
    expect(JSON.parse(lines[3])).toMatchObject({ event: 'auditTorn', sizeBytes: Buffer.byteLength(torn) })
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, lines: 6 })
    expect(await readFile(`${file}.torn`, 'utf8')).toBe(`${torn}\n`)
    expect((await stat(`${file}.torn`)).mode & 0o777).toBe(0o600)
  })

  it('that is nothing but a torn line begins anew behind it', async () => {
    await run(() => {})
    await truncate(file, 30)
    await run(() => {})
    expect(await eventsIn()).toEqual(['auditTorn', 'auditOpened', 'auditClosed'])
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, lines: 3 })
  })

  it('damaged before its last line is not continued: the broker does not start', async () => {
    await run(() => {})
    await appendFile(file, 'garbage\nmore garbage\n')
    const before = await readFile(file)
    await expect(run(() => {})).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
    expect(await readFile(file)).toEqual(before)
  })

  it('that cannot be opened keeps the broker from starting, by a code', async () => {
    await writeFile(join(directory, 'occupied'), '')
    const blocked = auditPlugin({ file: join(directory, 'occupied', 'audit.jsonl') })
    await expect(new PluginStage(blocked).setup()).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
  })

  it('needs a file', () => {
    for (const options of [undefined, {}, { file: '' }]) {
      expect(() => auditPlugin(options as AuditPluginOptions)).toThrow(TypeError)
    }
  })

  it('goes by its name', () => {
    expect(auditPlugin({ file }).name).toBe('audit')
    expect(auditPlugin({ file, name: 'audit-2' }).name).toBe('audit-2')
  })
})

describe('what is not recorded', () => {
  it('is counted on a line of its own when the queue was full', async () => {
    const stage = await run(
      (stage) => {
        for (let i = 0; i < 50; i++) stage.emit('connected', observerEvents.connected)
      },
      { queueItemsMax: 10 },
    )
    expect(stage.queues[0].dropped).toBe(40)
    expect((await entries())[1]).toMatchObject({ event: 'auditDropped', count: 40 })
    expect(await eventsIn()).toEqual([
      'auditOpened',
      'auditDropped',
      ...Array<string>(10).fill('connected'),
      'auditClosed',
    ])
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, droppedEvents: 40 })
  })

  it.each([
    ['before a byte of it', 0],
    ['half-way', 50],
  ])('is counted when writing fails %s, and the log goes on when it works again', async (_, writtenBytes) => {
    await run(async (stage) => {
      stage.emit('connected', observerEvents.connected)
      await stage.drained()
      await failNextAppend(writtenBytes)
      stage.emit('topicCreated', observerEvents.topicCreated)
      stage.emit('topicDeleted', observerEvents.topicDeleted)
      await stage.drained()
      expect(stage.faults).toMatchObject([{ code: 'RTK_STORE_FAILED', cause: { code: 'ENOSPC' } }])
      stage.emit('disconnected', observerEvents.disconnected)
      await stage.drained()
    })
    const aside = writtenBytes === 0 ? [] : ['auditTorn']
    expect(await eventsIn()).toEqual([
      'auditOpened',
      'connected',
      ...aside,
      'auditDropped',
      'disconnected',
      'auditClosed',
    ])
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, droppedEvents: 2 })
  })

  it('is what a handler still holds when the log is closed: it opens no file again', async () => {
    const stage = new PluginStage(auditPlugin({ file }), { stalled: true })
    await stage.setup()
    stage.emit('connected', observerEvents.connected)
    await stage.close()
    await expect(stage.queues[0].options.handle([])).rejects.toMatchObject({ code: 'RTK_CLOSED' })
  })
})

/** The next append of any file writes so many bytes, then fails as a full disk does. */
async function failNextAppend(writtenBytes: number): Promise<void> {
  const probe = await open(join(directory, 'probe'), 'a')
  const prototype: FileHandle = Object.getPrototypeOf(probe)
  await probe.close()
  vi.spyOn(prototype, 'appendFile').mockImplementationOnce(async function (this: FileHandle, data) {
    await this.write(String(data).slice(0, writtenBytes))
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  })
}

describe('verifying', () => {
  const written = async () => {
    await run((stage) => {
      for (const hook of ['connected', 'topicCreated', 'topicDeleted', 'denied', 'disconnected'] as const) {
        stage.emit(hook, observerEvents[hook])
      }
    })
    return linesOf()
  }

  it('accepts lines as well as files, and an empty log', async () => {
    const lines = await written()
    const last = JSON.parse(lines[6]).hash
    expect(await verifyAuditLog(lines)).toEqual({ valid: true, lines: 7, lastHash: last, droppedEvents: 0 })
    expect(await verifyAuditLog(file)).toEqual(await verifyAuditLog(lines))
    await writeFile(file, '')
    expect(await verifyAuditLog(file)).toEqual({
      valid: true,
      lines: 0,
      lastHash: genesisHash,
      droppedEvents: 0,
    })
  })

  it.each<[string, (lines: string[]) => string[], number]>([
    ['a changed field', (lines) => lines.with(3, lines[3].replace('alice', 'mallo')), 4],
    ['a changed last line', (lines) => lines.with(6, lines[6].replace('audit', 'Audit')), 7],
    ['a changed hash', (lines) => lines.with(2, flipped(lines[2], -5)), 3],
    ['a removed line', (lines) => lines.toSpliced(2, 1), 3],
    ['a removed first line', (lines) => lines.slice(1), 1],
    ['a line twice', (lines) => lines.toSpliced(2, 0, lines[1]), 3],
    ['swapped lines', (lines) => lines.with(2, lines[3]).with(3, lines[2]), 3],
    ['an empty line', (lines) => lines.toSpliced(2, 0, ''), 3],
    ['something else', (lines) => lines.with(4, '{"seq":5}'), 5],
    ['a line that is too long', (lines) => lines.with(4, 'x'.repeat(100_000)), 5],
    ['added blanks', (lines) => lines.with(1, ` ${lines[1]}`), 2],
  ])('finds %s', async (_, change, brokenLine) => {
    const changed = change(await written())
    const expected = { valid: false, lines: brokenLine - 1, brokenLine, reason: expect.stringMatching(/\w+/) }
    expect(await verifyAuditLog(changed)).toEqual(expected)
    await writeFile(file, `${changed.join('\n')}\n`)
    expect(await verifyAuditLog(file)).toEqual(expected)
  })

  it('finds any single changed byte', async () => {
    const lines = await written()
    const text = `${lines.join('\n')}\n`
    for (let at = 0; at < text.length; at += 37) {
      const bytes = Buffer.from(text)
      bytes[at] ^= 1
      await writeFile(file, bytes)
      const lineOfByte = text.slice(0, at).split('\n').length
      expect(await verifyAuditLog(file)).toMatchObject({ valid: false, brokenLine: lineOfByte })
    }
  })

  it('finds a part that was forged with right hashes of its own', async () => {
    const lines = await written()
    const other = join(directory, 'other.jsonl')
    const forged = new PluginStage(auditPlugin({ file: other }))
    await forged.setup()
    forged.emit('topicCreated', observerEvents.topicCreated)
    forged.emit('topicDeleted', observerEvents.topicDeleted)
    await forged.close()
    const replaced = [...lines.slice(0, 2), (await linesOf(other))[2]]
    expect(await verifyAuditLog(replaced)).toMatchObject({ valid: false, brokenLine: 3 })
  })

  it('finds lines that were cut off the end when a hash is known', async () => {
    const lines = await written()
    const knownHash = JSON.parse(lines[5]).hash
    expect(await verifyAuditLog(lines, { knownHash })).toMatchObject({ valid: true })
    expect(await verifyAuditLog(lines.slice(0, 5), { knownHash })).toMatchObject({
      valid: false,
      brokenLine: 6,
    })
    expect(await verifyAuditLog([], { knownHash: genesisHash })).toMatchObject({ valid: true })
  })

  it('says by a code that the file cannot be read, without its path', async () => {
    const error = await verifyAuditLog(join(directory, 'missing')).catch((caught: unknown) => caught)
    expect(error).toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.not.stringContaining(directory),
    })
  })

  it('reads long logs in pieces', async () => {
    await run(
      async (stage) => {
        for (let i = 0; i < 3_000; i++) stage.emit('connected', observerEvents.connected)
      },
      { fsync: false },
    )
    expect((await stat(file)).size).toBeGreaterThan(500_000)
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true, lines: 3_002 })
  })
})

function flipped(line: string, at: number): string {
  const place = line.length + at
  return line.slice(0, place) + (line[place] === '0' ? '1' : '0') + line.slice(place + 1)
}
