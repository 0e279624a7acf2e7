/** One run: a broker and its groups are drawn, commands are carried out, and at the end everything must come to its end. */
import fc from 'fast-check'
import type { QueueConfig } from 'ratatoskr/ports'
import { broken } from './broken.ts'
import { commands } from './commands.ts'
import { Member } from './member.ts'
import { World, type WorldOptions } from './world.ts'

const commandsMax = 50

const config: fc.Arbitrary<QueueConfig> = fc.record({
  sharing: fc.constantFrom('partitioned', 'shared', 'keyShared'),
  ackTimeoutMs: fc.constantFrom(1_000, 30_000),
  retriesMax: fc.constantFrom(-1, 0, 1, 3),
  retry: fc.constantFrom(
    { kind: 'fixed', delayMs: 0 },
    { kind: 'fixed', delayMs: 700 },
    { kind: 'list', delaysMs: [1, 5_000] },
  ),
  deadLetterTopic: fc.constantFrom('', '', '', 'none'),
  deadLetterRetentionMs: fc.constant(-1),
  deadLetterExpired: fc.boolean(),
  inFlightMax: fc.constantFrom(4, 100_000),
  checkpointIntervalMs: fc.constantFrom(1, 100, 1_000),
  groupExpiryMs: fc.constant(-1),
})

const options: fc.Arbitrary<WorldOptions> = fc.record({
  storage: fc.constantFrom('memory', 'disk'),
  partitions: fc.integer({ min: 1, max: 3 }),
  groups: fc.array(config, { minLength: 1, maxLength: 2 }),
  seed: fc.integer({ min: 1, max: 1_000_000 }),
})

/** What is true of every run. */
export const everyRun = fc.asyncProperty(
  fc.scheduler(),
  options,
  commands(commandsMax),
  async (scheduler, drawn, list) => {
    const world = new World(drawn, scheduler)
    await world.begin()
    await fc.asyncModelRun(() => ({ model: world, real: world }), list)
    await drain(world)
    await world.end()
  },
)

/** Heals everything, and lets members that do all their work finish what there is. @throws Error when something is left */
async function drain(world: World): Promise<void> {
  await world.hold(false)
  world.heal()
  await world.pass(60_000)
  await world.check()
  for (const member of [...world.members]) await member.leave('close')
  for (const group of world.groups) {
    group.pauseUnsure = true
    await world.done(world.session.pauseQueue('orders', group.name, false))
    group.paused = group.pauseUnsure = false
    group.pausedPartitions.clear()
    const name = 'finisher'
    await new Member(world, group, {
      name,
      autoAck: false,
      begins: false,
      credit: { messages: 100_000 },
      fullAfter: 1_000_000,
    }).join()
  }
  for (let rounds = 0; rounds < 30; rounds++) {
    await world.check()
    for (const member of [...world.members]) {
      member.makeRoom()
      await member.ackAll()
      member.grant({ messages: 1_000, bytes: 100_000 })
    }
    await world.check()
    if (left(world).length === 0 && rounds > 0) break
    await world.pass(rounds < 5 ? 1_000 : 30_000)
  }
  await world.check()
  const lost = left(world)
  if (lost.length > 0) throw broken(`never finished: ${lost.join(', ')}`)
}

const left = (world: World): string[] =>
  world.groups.flatMap((group) =>
    group.partitions.flatMap((partition) =>
      partition
        .unfinished(world.nowMs)
        .map(({ offset, status }) => `${partition.index}/${offset} of ${group.name}, ${status}`),
    ),
  )
