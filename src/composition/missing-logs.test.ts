/**
 * Logs that are gone after a stop that was not clean, so that no note tells of them: the state knows the topics, and that is
 * told. It is no loss when a crash comes while a topic is made, altered or deleted.
 */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { diskStorage, verifyDataDirectory } from 'ratatoskr/adapters/disk'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { ManualClock, type SimulatedDisk, simulatedDisk } from 'ratatoskr/contract-tests'
import { type Session, utf8 } from 'ratatoskr/ports'
import { expect, it } from 'vitest'

interface Running {
  readonly broker: EmbeddedBroker
  readonly session: Session
  readonly errors: readonly string[]
}

async function brokerOn(disk: SimulatedDisk): Promise<Running> {
  const errors: string[] = []
  const logger = {
    debug() {},
    info() {},
    warn() {},
    error: (message: string) => void errors.push(message),
    child: () => logger,
  }
  const broker = await createBroker({
    storage: diskStorage({ directory: '/data', fileSystem: disk, reserveBytes: 4_096 }),
    platform: { clock: new ManualClock(), logger },
  })
  await broker.start()
  const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
  return { broker, session: await broker.facade.connect(peer, { kind: 'none' }), errors }
}

async function verified(disk: SimulatedDisk): Promise<readonly string[]> {
  const files: string[] = []
  const { checksum } = nodePlatform()
  for await (const { severity, file } of verifyDataDirectory('/data', checksum, () => {}, disk))
    if (severity === 'error') files.push(file)
  return files
}

it.each(['all logs', 'a topic', 'a partition'])('%s that is gone is told of', async (what) => {
  const disk = simulatedDisk()
  const { session } = await brokerOn(disk)
  const { id } = await session.describeTopic('t').catch(async () => {
    await session.createTopic('t', { partitions: 2 })
    return session.describeTopic('t')
  })
  await session.publish('t', { payload: utf8('x'), partition: 0 })
  const left = disk.powerCut({ survival: 'nothing' })
  expect(await verified(left.fork())).toEqual([])
  const gone = {
    'all logs': '/data/logs',
    'a topic': `/data/logs/${id}`,
    'a partition': `/data/logs/${id}/0`,
  }[what]
  await left.removeTree(gone as string)
  const both = [`logs/${id}/0`, `logs/${id}/1`]
  const logs = what === 'a partition' ? both.slice(0, 1) : both
  expect(await verified(left)).toEqual(logs)
  const after = await brokerOn(left)
  expect(after.errors).toEqual(logs.map(() => expect.stringContaining('the directory of a log is missing')))
  expect(after.broker.health()).toMatchObject({ status: 'degraded' })
  await after.session.publish('t', { payload: utf8('again'), partition: 0 })
  await after.broker.stop()
  const next = await brokerOn(left)
  expect([next.broker.health().status, next.errors]).toEqual(['ok', []])
  await next.broker.stop()
})

it('a crash while topics are made, altered and deleted is no loss', async () => {
  const disk = simulatedDisk()
  const { session } = await brokerOn(disk)
  const moments: SimulatedDisk[] = []
  disk.onCall = () => void moments.push(disk.fork(), disk.powerCut({ survival: 'nothing' }))
  await session.createTopic('t', { partitions: 2 })
  await session.alterTopic('t', { partitions: 3 })
  await session.publish('t', { payload: utf8('x'), partition: 0 })
  await session.deleteTopic('t')
  disk.onCall = undefined
  expect(moments.length).toBeGreaterThan(40)
  for (const [place, moment] of moments.entries()) {
    expect(await verified(moment), `${place}`).toEqual([])
    const after = await brokerOn(moment)
    expect([after.broker.health().status, after.errors], `${place}`).toEqual(['ok', []])
    await after.broker.stop()
  }
})
