/** What may happen in a run, as commands of fast-check: each does something to the broker and then checks every promise. */
import fc from 'fast-check'
import {
  isRatatoskrError,
  type LeasedBatch,
  type OutgoingMessage,
  type QueueCredit,
  type Settlement,
  type SettlementAction,
  utf8,
} from 'ratatoskr/ports'
import { broken } from './broken.ts'
import { Member } from './member.ts'
import { Poller } from './poller.ts'
import { topicName, type World } from './world.ts'

type Run = (world: World) => Promise<void>

class Command implements fc.AsyncCommand<World, World, boolean> {
  readonly #text: string
  readonly #run: Run

  constructor(text: string, run: Run) {
    this.#text = text
    this.#run = run
  }

  check(): boolean {
    return true
  }

  async run(_model: World, world: World): Promise<void> {
    await this.#run(world)
    await world.check()
  }

  toString(): string {
    return this.#text
  }
}

/** A kind of command: how its arguments are drawn, and what it does with them. */
function kind<Args>(
  name: string,
  args: fc.Arbitrary<Args>,
  run: (world: World, args: Args) => Promise<void>,
) {
  return args.map((drawn) => new Command(`${name}(${JSON.stringify(drawn)})`, (world) => run(world, drawn)))
}

const index = fc.nat({ max: 7 })
/** One of a list by any number; undefined of an empty one. */
const at = <T>(list: readonly T[], number: number): T | undefined => list[number % Math.max(1, list.length)]

const credit: fc.Arbitrary<QueueCredit> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ messages: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ bytes: fc.integer({ min: 1, max: 2_000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      messages: fc.integer({ min: 1, max: 12 }),
      bytes: fc.constantFrom(1, 200, 400, 10_000),
    }),
  },
)

const publish = kind(
  'publish',
  fc.record({
    keys: fc.array(fc.constantFrom('', 'a', 'b', 'c'), { minLength: 1, maxLength: 6 }),
    partition: fc.option(index, { freq: 3, nil: undefined }),
    sizeBytes: fc.constantFrom(8, 8, 150, 3_000),
    ttlMs: fc.option(fc.constantFrom(500, 5_000), { freq: 12, nil: undefined }),
    waits: fc.boolean(),
  }),
  async (world, { keys, partition, sizeBytes, ttlMs, waits }) => {
    const fields = keys.map((key): Partial<OutgoingMessage> => {
      const where = partition === undefined ? undefined : partition % world.partitions
      return { key: key === '' ? undefined : utf8(key), partition: where, ttlMs }
    })
    const publishing = world.publish(fields, sizeBytes)
    if (waits && !world.holding) await world.done(publishing.catch(() => {}))
  },
)

const join = kind(
  'join',
  fc.record({
    group: index,
    name: fc.constantFrom('ann', 'bob', 'cid', 'dan'),
    autoAck: fc.nat({ max: 9 }).map((number) => number === 0),
    begins: fc.boolean(),
    credit,
    fullAfter: fc.constantFrom(1, 3, 1_000, 1_000, 1_000),
  }),
  async (world, { group, ...options }) => {
    const model = at(world.groups, group)
    // What is handed over for good is stored before: how long that takes is left out here.
    const autoAck = options.autoAck && world.calm
    if (model !== undefined) await new Member(world, model, { ...options, autoAck }).join()
  },
)

const grant = kind('grant', fc.record({ member: index, credit }), async (world, { member, credit: more }) =>
  at(world.members, member)?.grant(more),
)

const makeRoom = kind('makeRoom', fc.record({ member: index }), async (world, { member }) =>
  at(world.members, member)?.makeRoom(),
)

const actions: readonly SettlementAction[] = ['ack', 'nack', 'extend', 'terminate', 'release', 'begin']

const settle = kind(
  'settle',
  fc.record({
    member: index,
    /** Which delivery, counted from the last one. */
    back: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: index }),
    action: fc.constantFrom(...actions, 'ack' as const, 'nack' as const, 'nack' as const),
    from: fc.oneof(fc.constant(0), index),
    count: fc.integer({ min: 1, max: 6 }),
    ms: fc.option(fc.constantFrom(0, 1, 700, 40_000), { freq: 2, nil: undefined }),
  }),
  async (world, { member: number, back, action, from, count, ms }) => {
    const member = at(world.members, number)
    const batch = member?.batches.at(-1 - (back % Math.max(1, member.batches.length)))
    if (member === undefined || batch === undefined) return
    const delayMs = action === 'nack' ? ms : undefined
    const extendMs = action === 'extend' && ms !== 0 ? ms : undefined
    await member.settle([{ ...rangeOf(batch, from, count), action, delayMs, extendMs }])
  },
)

const take = kind(
  'take',
  fc.record({
    group: index,
    messagesMax: fc.integer({ min: 1, max: 12 }),
    bytesMax: fc.option(fc.constantFrom(1, 200, 10_000), { nil: undefined }),
  }),
  async (world, { group: number, ...options }) => {
    const group = at(world.groups, number)
    // Where members own partitions, all calls without a name are one member.
    if (group === undefined || group.config.sharing === 'partitioned' || world.holding || world.failing)
      return
    world.pollers.push(await Poller.take(world, group, options))
  },
)

const settleTaken = kind(
  'settleTaken',
  fc.record({
    poller: index,
    batch: index,
    action: fc.constantFrom(...actions, 'ack' as const, 'nack' as const),
    from: fc.oneof(fc.constant(0), index),
    count: fc.integer({ min: 1, max: 6 }),
    ms: fc.option(fc.constantFrom(0, 700), { freq: 2, nil: undefined }),
  }),
  async (world, { poller: back, batch: number, action, from, count, ms }) => {
    const poller = at(world.pollers.toReversed(), back)
    const batch = at(poller?.batches ?? [], number)
    if (poller === undefined || batch === undefined) return
    const delayMs = action === 'nack' ? ms : undefined
    await poller.settle([{ ...rangeOf(batch, from, count), action, delayMs }])
  },
)

const alter = kind(
  'alter',
  fc.record({
    group: index,
    changes: fc.record(
      {
        ackTimeoutMs: fc.constantFrom(1_000, 30_000),
        retriesMax: fc.constantFrom(-1, 0, 1, 3),
        retry: fc.constantFrom(
          { kind: 'fixed' as const, delayMs: 0 },
          { kind: 'fixed' as const, delayMs: 700 },
        ),
        inFlightMax: fc.constantFrom(4, 100_000),
      },
      { requiredKeys: [] },
    ),
  }),
  async (world, { group: number, changes }) => {
    const group = at(world.groups, number)
    // Whether a change that could not be stored holds is left open.
    if (group === undefined || !world.calm) return
    const altering = world.session.alterQueue(topicName, group.name, changes)
    group.config = { ...group.config, ...changes }
    const { config } = await world.done(altering)
    for (const [name, value] of Object.entries(changes)) {
      const now = config[name as keyof typeof changes]
      if (JSON.stringify(now) !== JSON.stringify(value))
        throw broken(`${name} was set to ${value} and is ${now}`)
    }
  },
)

const ackUpTo = kind(
  'ackUpTo',
  fc.record({ member: index, count: index }),
  async (world, { member, count }) => {
    const who = at(world.members, member)
    const batch = who?.batches.at(-1)
    if (who === undefined || batch === undefined) return
    const { partition, lease, firstOffset } = batch
    await who.settle([{ partition, lease, from: 0, to: firstOffset + count + 1, action: 'ack' }])
  },
)

const ackAll = kind('ackAll', fc.record({ member: index }), async (world, { member }) =>
  at(world.members, member)?.ackAll(),
)

/** A range of a delivery, which may reach beyond its end. */
function rangeOf(batch: LeasedBatch, from: number, count: number): Omit<Settlement, 'action'> {
  const { partition, lease, firstOffset, lastOffset } = batch
  const first = Math.min(firstOffset + from, lastOffset)
  return { partition, lease, from: first, to: first + count }
}

const leave = kind(
  'leave',
  fc.record({ member: index, how: fc.constantFrom('close' as const, 'disconnect' as const) }),
  async (world, { member, how }) => at(world.members, member)?.leave(how),
)

const silence = kind('silence', fc.record({ member: index }), async (world, { member }) => {
  const who = at(world.members, member)
  if (who !== undefined) who.silent = true
})

const pass = kind(
  'pass',
  fc.record({ ms: fc.constantFrom(1, 50, 99, 100, 699, 1_000, 4_999, 5_000, 29_999, 30_000, 60_000) }),
  (world, { ms }) => world.pass(ms),
)

const crash = kind(
  'crash',
  fc.record({ how: fc.constantFrom('kill' as const, 'power' as const) }),
  (world, { how }) => world.crash(how),
)

const restart = kind('restart', fc.constant({}), (world) => world.restart())

const seek = kind(
  'seek',
  fc.record({
    group: index,
    partition: index,
    offset: fc.oneof(index, fc.constantFrom('earliest' as const, 'latest' as const)),
  }),
  async (world, { group: number, partition: place, offset }) => {
    const group = at(world.groups, number)
    if (group === undefined) return
    await world.hold(false)
    await world.quiet()
    const partition = place % world.partitions
    const end = group.partition(partition).messages.length
    const to = offset === 'earliest' ? 0 : offset === 'latest' ? end : Math.min(offset, end)
    const position = typeof offset === 'number' ? { offsets: [{ partition, offset: to }] } : offset
    group.partition(partition).seek(to, world.nowMs)
    group.mark()
    const seeking = world.session.seekGroup(topicName, group.name, { position, partitions: [partition] })
    const stored = await world.done(seeking.then(() => true, mustBeOfStore))
    if (stored) group.flushed()
  },
)

const pause = kind(
  'pause',
  fc.record({ group: index, paused: fc.boolean(), partition: fc.option(index, { nil: undefined }) }),
  async (world, { group: number, paused, partition: place }) => {
    const group = at(world.groups, number)
    if (group === undefined) return
    group.pauseUnsure = true
    const partitions = place === undefined ? undefined : [place % world.partitions]
    const call = world.session.pauseQueue(topicName, group.name, paused, partitions)
    const stored = await world.done(call.then(() => true, mustBeOfStore))
    group.pauseUnsure = false
    if (!stored) return
    if (partitions === undefined) {
      group.paused = paused
      group.pausedPartitions.clear()
    } else if (paused) group.pausedPartitions.add(partitions[0])
    else group.pausedPartitions.delete(partitions[0])
  },
)

function mustBeOfStore(error: unknown): false {
  if (isRatatoskrError(error) && error.code.startsWith('RTK_STORE')) return false
  throw error
}

const addPartition = kind('addPartition', fc.constant({}), async (world) => {
  if (world.partitions === 4 || world.failing) return
  await world.done(world.session.alterTopic(topicName, { partitions: world.partitions + 1 }))
  world.partitions++
  for (const group of world.groups) group.partition(world.partitions - 1)
})

const fail = kind(
  'fail',
  fc.record({ what: fc.constantFrom('state' as const, 'logs' as const, 'reads' as const) }),
  async (world, { what }) => {
    if (!world.handsOver) world.fail(what)
  },
)

const heal = kind('heal', fc.constant({}), async (world) => world.heal())

const hold = kind('hold', fc.record({ holding: fc.boolean() }), async (world, { holding }) => {
  if (!holding || !world.handsOver) await world.hold(holding)
})

const letGo = kind('letGo', fc.record({ count: fc.integer({ min: 1, max: 4 }) }), (world, { count }) =>
  world.letGo(count),
)

/** A publish that carries the lease of a message is refused when the lease is lost, and only then. */
const publishFenced = kind(
  'publishFenced',
  fc.record({ member: index, back: index }),
  async (world, drawn) => {
    const member = at(world.members, drawn.member)
    const batch = member?.batches.at(-1 - (drawn.back % Math.max(1, member.batches.length)))
    if (member === undefined || batch === undefined || world.holding || world.failing || !world.calm) return
    const { partition, lease, firstOffset: offset } = batch
    const { group } = member
    group.partition(partition).tick(world.nowMs)
    const holds = group.partition(partition).holds(lease, offset)
    const proof = { topic: topicName, group: group.name, partition, offset, lease }
    const before = world.acked.size
    const refused = await world.done(
      world.publish([{}], 8, { lease: proof }).then(
        () => world.acked.size === before,
        (error) => isRatatoskrError(error, 'RTK_LEASE_LOST'),
      ),
    )
    if (refused === holds)
      throw broken(`a publish under a lease that ${holds ? 'holds was refused' : 'is lost was done'}`)
  },
)

/** The commands of a run. */
export const commands = (most: number): fc.Arbitrary<Iterable<fc.AsyncCommand<World, World, boolean>>> =>
  fc.commands(
    [
      publish,
      publish,
      publish,
      join,
      join,
      grant,
      grant,
      settle,
      settle,
      settle,
      ackAll,
      ackUpTo,
      take,
      settleTaken,
      alter,
      makeRoom,
      leave,
      silence,
      pass,
      pass,
      crash,
      restart,
      seek,
      pause,
      addPartition,
      fail,
      heal,
      hold,
      letGo,
      publishFenced,
    ],
    { maxCommands: most, size: 'max' },
  )
