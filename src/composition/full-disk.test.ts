/**
 * A disk without one byte left: a broker starts on it, gives out what it holds and deletes a topic, which makes room again; and
 * `log repair` does there what needs no room, leaves the rest, and says so.
 */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { diskStorage, repairDataDirectory, verifyDataDirectory } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type SimulatedDisk, simulatedDisk } from 'ratatoskr/contract-tests'
import { messagesOf, type Session, utf8, utf8Text } from 'ratatoskr/ports'
import { beforeEach, describe, expect, it } from 'vitest'

const reserveBytes = 4_096
const messages = 70

interface Running {
  readonly broker: EmbeddedBroker
  readonly session: Session
}

async function brokerOn(disk: SimulatedDisk): Promise<Running> {
  const storage = diskStorage({ directory: '/data', fileSystem: disk, reserveBytes })
  const broker = await createBroker({ storage, platform: { logger: silentLogger } })
  await broker.start()
  const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
  return { broker, session: await broker.facade.connect(peer, { kind: 'none' }) }
}

const publish = async (session: Session, topic: string, text: string): Promise<void> => {
  await session.publish(topic, { payload: utf8(text) }, { durability: 'fsync' })
}

const full = { code: 'RTK_STORE_FULL' }

let disk: SimulatedDisk
/** The disk as it is left by a stop in order, and by a kill. */
let stopped: SimulatedDisk
let killed: SimulatedDisk

beforeEach(async () => {
  disk = simulatedDisk({ seed: 1 })
  const { broker, session } = await brokerOn(disk)
  for (const topic of ['kept', 'deleted']) {
    await session.createTopic(topic, { segmentBytes: 65_536 })
    for (let n = 0; n < messages; n++) await publish(session, topic, `${topic} ${n} ${'.'.repeat(2_000)}`)
  }
  killed = disk.fork()
  await broker.stop()
  stopped = disk.fork()
  for (const one of [stopped, killed]) one.capacityBytes = one.usedBytes
})

/** The first words of what a topic holds. */
async function read(session: Session, topic: string): Promise<string[]> {
  const texts: string[] = []
  const { id: topicId } = await session.describeTopic(topic)
  const source = { topic, topicId, partition: 0, expansion: { codecs: new Map(), bytesMax: 1e6 } }
  const all = Promise.withResolvers<void>()
  const subscription = await session.subscribe(
    topic,
    { from: 'earliest' },
    {
      deliver: ({ bytes, fromOffset }) => {
        for (const { payload } of messagesOf(bytes, source, fromOffset)) texts.push(utf8Text(payload))
        if (texts.length >= messages) all.resolve()
      },
      ended() {},
    },
  )
  subscription.grant({ messages: 1_000, bytes: 10_000_000 })
  await all.promise
  return texts.map((text) => text.split(' ').slice(0, 2).join(' '))
}

const written = (topic: string): string[] => Array.from({ length: messages }, (_, n) => `${topic} ${n}`)

describe.each([
  ['a stop in order', () => stopped],
  ['a kill', () => killed],
])('after %s', (_, left) => {
  it('a broker starts, gives out what is there, and deletes a topic, after which there is room', async () => {
    disk = left()
    const { broker, session } = await brokerOn(disk)
    // The note of a stop in order has made a little room.
    disk.capacityBytes = disk.usedBytes
    await expect(publish(session, 'kept', 'more')).rejects.toMatchObject(full)
    await expect(session.createTopic('another', {})).rejects.toMatchObject(full)
    expect(await read(session, 'deleted')).toEqual(written('deleted'))
    const usedBytes = disk.usedBytes
    await session.deleteTopic('deleted')
    expect(disk.usedBytes).toBeLessThan(usedBytes - messages * 2_000)
    expect(await read(session, 'kept')).toEqual(written('kept'))
    await publish(session, 'kept', 'more')
    await broker.stop()
  })

  it('a broker stops as well, and what it held is there when the disk has grown', async () => {
    disk = left()
    const { broker } = await brokerOn(disk)
    await broker.stop()
    disk.capacityBytes = Number.POSITIVE_INFINITY
    const after = await brokerOn(disk)
    for (const topic of ['kept', 'deleted']) {
      expect(await read(after.session, topic)).toEqual(written(topic))
      await publish(after.session, topic, 'more')
    }
    await after.broker.stop()
  })
})

describe('log repair', () => {
  async function repaired(acceptLoss: boolean): Promise<string[]> {
    const lines: string[] = []
    const options = { dryRun: false, acceptLoss, setAside: [] }
    for await (const { action, result } of repairDataDirectory(
      '/data',
      nodePlatform(),
      options,
      () => {},
      disk,
    ))
      lines.push(`${result}: ${action}`)
    return lines
  }
  async function found(): Promise<string[]> {
    const states: string[] = []
    for await (const { severity, state } of verifyDataDirectory(
      '/data',
      nodePlatform().checksum,
      undefined,
      disk,
    ))
      if (severity !== 'ok') states.push(state)
    return states
  }
  /** Writes into a segment, at its end by default. */
  async function changed(path: string, bytes: Uint8Array, position?: number): Promise<void> {
    const file = await disk.open(path, 'write')
    await file.write(bytes, position ?? (await file.size()))
    await file.close()
  }
  /** What is in the directories that a repair changes. */
  async function names(): Promise<readonly string[]> {
    const paths = ['/data', '/data/quarantine', '/data/state']
    for (const topic of await disk.list('/data/logs')) paths.push(`/data/logs/${topic}/0`)
    return (await Promise.all(paths.map((path) => disk.list(path)))).flat()
  }
  async function segments(): Promise<string[]> {
    const paths: string[] = []
    for (const topic of await disk.list('/data/logs'))
      for (const name of await disk.list(`/data/logs/${topic}/0`))
        if (name.endsWith('.log')) paths.push(`/data/logs/${topic}/0/${name}`)
    return paths.sort()
  }

  it('finds nothing to do where nothing is wrong', async () => {
    disk = stopped
    expect([await repaired(false), await found()]).toEqual([[], []])
  })

  it.each([
    [
      'an index',
      'write index',
      async (path: string) => {
        await disk.remove(path.replace(/log$/, 'index'))
      },
    ],
    ['an end', 'cut end', async () => changed((await segments()).at(-1) as string, utf8('half a batch'))],
    ['a loss', 'accept loss', (path: string) => changed(path, utf8('damage'), 3_000)],
  ] as const)('leaves %s for when there is room, and goes on', async (_, action, damage) => {
    disk = stopped
    disk.capacityBytes = Number.POSITIVE_INFINITY
    const [path] = await segments()
    await damage(path)
    // What the first change takes away makes no room.
    await disk.remove('/data/clean')
    disk.capacityBytes = disk.usedBytes
    const before = [...(await names())].sort()
    expect(await repaired(true)).toContain(`not done: ${action}`)
    expect((await names()).filter((name) => name !== 'quarantine').sort()).toEqual(before)
    disk.capacityBytes = Number.POSITIVE_INFINITY
    expect(await repaired(true)).toContain(`done: ${action}`)
  })
})
