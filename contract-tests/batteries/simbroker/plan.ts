/** What a seed does: who publishes what and when, who consumes how, and what goes wrong. All of it is drawn before anything runs. */
import { Dice } from '../simdisk/dice.ts'

type Sharing = 'partitioned' | 'shared' | 'keyShared'

/** What handlers do with a message. */
export interface Behaviour {
  /** How long a handler takes, in milliseconds. */
  readonly takesMs: number
  /** How often it fails before it succeeds. */
  readonly fails: number
  /** How it fails: with a throw, with a nack of its own delay, or for good. */
  readonly how: 'throw' | 'nack' | 'terminate' | 'release'
  readonly nackDelayMs: number
  /** Whether it asks for the broker's answer. */
  readonly asks: boolean
  /** Whether its work is a publish that carries the lease. */
  readonly publishes: boolean
}

export interface MessagePlan {
  readonly n: number
  readonly atMs: number
  readonly client: number
  readonly key: string | undefined
  readonly ttlMs: number | undefined
  readonly delayMs: number | undefined
  /** After which time its publisher takes it back. */
  readonly cancelMs: number | undefined
  readonly id: string | undefined
  /** After which time it is published again under its id. */
  readonly againMs: number | undefined
  /** One for each group. */
  readonly behaviours: readonly Behaviour[]
}

export interface GroupPlan {
  readonly name: string
  readonly sharing: Sharing
  readonly ackTimeoutMs: number
  readonly retriesMax: number
  readonly retry:
    | { readonly kind: 'fixed'; readonly delayMs: number }
    | { readonly kind: 'list'; readonly delaysMs: readonly number[] }
  readonly deadLetterTopic: string
  readonly deadLetterExpired: boolean
  readonly checkpointIntervalMs: number
}

export interface MemberPlan {
  readonly client: number
  /** Of the queue groups; -1: the stream group. */
  readonly group: number
  readonly joinMs: number
  /** When it leaves in order; never by itself otherwise. */
  readonly leaveMs: number | undefined
  readonly concurrency: number
  readonly maxInFlight: number
  /** How it comes to its messages: is called, reads in a loop, takes them by polling, or is called with each at most once. */
  readonly by: 'handler' | 'loop' | 'polling' | 'once'
  readonly prefetchBytes: number | undefined
  readonly named: boolean
}

type FaultKind =
  | 'network'
  | 'disconnect'
  | 'isolate'
  | 'stall'
  | 'vanish'
  | 'kill'
  | 'power cut'
  | 'restart'
  | 'stall broker'
  | 'full'
  | 'log error'
  | 'state error'
  | 'seek'
  | 'add partition'

export interface FaultPlan {
  readonly kind: FaultKind
  readonly atMs: number
  readonly forMs: number
  readonly client: number
  readonly group: number
  /** For crashes: after so many more calls of the disk. */
  readonly calls: number
}

/** Dead letters of a group are published again. */
export interface RedrivePlan {
  readonly atMs: number
  readonly client: number
  readonly group: number
  readonly everyGroup: boolean
}

export interface Plan {
  readonly seed: number
  readonly onDisk: boolean
  readonly durability: 'memory' | 'os' | 'fsync'
  readonly partitions: number
  readonly dedupWindowMs: number
  readonly memberTimeoutMs: number
  readonly clients: number
  readonly idempotent: readonly boolean[]
  readonly groups: readonly GroupPlan[]
  readonly streams: boolean
  readonly members: readonly MemberPlan[]
  readonly messages: readonly MessagePlan[]
  readonly faults: readonly FaultPlan[]
  readonly redrives: readonly RedrivePlan[]
  /** How likely the network's faults are while it is faulty. */
  readonly unrest: number
  /** When faults stop. */
  readonly quietMs: number
}

/** @returns the plan of a seed */
export function planOf(seed: number): Plan {
  const dice = new Dice(Math.imul(seed, 0x9e3779b1) ^ 0x2545f491)
  const onDisk = dice.chance(0.8)
  const crash = !onDisk ? 'none' : dice.pick(['none', 'kill', 'kill', 'power cut', 'power cut'] as const)
  const clients = dice.between(2, 4)
  const quietMs = dice.between(6, 16) * 1_000
  const groups = Array.from({ length: dice.pick([1, 1, 2]) }, (_, i) => groupOf(dice, i))
  const dedupWindowMs = dice.chance(0.4) ? 3_600_000 : 0
  const streams = dice.chance(0.35)
  // What came later draws from a seed of its own: old seeds live on.
  const more = new Dice(Math.imul(seed, 0x85ebca6b) ^ 0x7feb352d)
  const plan: Plan = {
    seed,
    onDisk,
    durability: !onDisk
      ? 'memory'
      : crash === 'power cut'
        ? 'fsync'
        : dice.pick(['os', 'os', 'fsync'] as const),
    partitions: dice.between(1, 3),
    dedupWindowMs,
    memberTimeoutMs: dice.pick([900, 1_500, 3_000]),
    clients,
    idempotent: Array.from({ length: clients }, () => dice.chance(0.85)),
    groups,
    streams,
    members: membersOf(dice, clients, groups.length, streams, quietMs).map((member) =>
      otherWays(more, member),
    ),
    messages: messagesOf(dice, clients, groups, dedupWindowMs > 0, quietMs),
    faults: [
      ...faultsOf(dice, crash, onDisk, clients, groups.length, quietMs),
      ...stallsOf(more, clients, quietMs),
    ],
    unrest: dice.pick([0, 0.005, 0.02, 0.05]),
    redrives: redrivesOf(more, clients, groups.length, quietMs),
    quietMs,
  }
  return crash === 'none' ? plan : withCutRedrive(plan, crash)
}

function groupOf(dice: Dice, index: number): GroupPlan {
  return {
    name: `group${index}`,
    sharing: dice.pick(['partitioned', 'shared', 'keyShared'] as const),
    ackTimeoutMs: dice.pick([1_000, 2_000, 4_000]),
    retriesMax: dice.pick([0, 1, 2, 3, 3]),
    retry: dice.chance(0.5)
      ? { kind: 'fixed', delayMs: dice.pick([0, 100, 700]) }
      : { kind: 'list', delaysMs: [dice.pick([50, 300]), dice.pick([200, 1_500])] },
    deadLetterTopic: dice.chance(0.7) ? '' : `graves${index}`,
    deadLetterExpired: dice.chance(0.5),
    checkpointIntervalMs: dice.pick([50, 100, 100, 400]),
  }
}

function membersOf(
  dice: Dice,
  clients: number,
  groups: number,
  streams: boolean,
  quietMs: number,
): MemberPlan[] {
  const members: MemberPlan[] = []
  for (let group = streams ? -1 : 0; group < groups; group++) {
    const count = dice.between(1, 3)
    for (let i = 0; i < count; i++) {
      const joinMs = i === 0 ? dice.between(0, 200) : dice.between(0, quietMs - 500)
      members.push({
        client: dice.between(0, clients - 1),
        group,
        joinMs,
        leaveMs: dice.chance(0.35) ? dice.between(joinMs + 100, quietMs) : undefined,
        concurrency: dice.between(1, 4),
        maxInFlight: dice.pick([1, 3, 10, 1_000]),
        by: dice.chance(0.15) ? 'loop' : 'handler',
        prefetchBytes: undefined,
        named: dice.chance(0.3),
      })
    }
  }
  return members
}

/** Some members poll, take at most once, or have little credit. */
function otherWays(dice: Dice, member: MemberPlan): MemberPlan {
  const fate = dice.next()
  const prefetchBytes = dice.pick([undefined, undefined, 120, 400])
  if (member.group === -1) return member
  return { ...member, by: fate < 0.15 ? 'polling' : fate < 0.22 ? 'once' : member.by, prefetchBytes }
}

/** Clients that stand still for long enough to be evicted, while others have their messages. */
function stallsOf(dice: Dice, clients: number, quietMs: number): FaultPlan[] {
  if (dice.chance(0.7)) return []
  return Array.from({ length: dice.between(1, 3) }, () => ({
    kind: 'stall' as const,
    atMs: dice.between(200, quietMs - 200),
    forMs: dice.between(1_000, 4_500),
    client: dice.between(0, clients - 1),
    group: 0,
    calls: 0,
  }))
}

function redrivesOf(dice: Dice, clients: number, groups: number, quietMs: number): RedrivePlan[] {
  if (dice.chance(0.5)) return []
  const everyGroup = dice.chance(0.5)
  return Array.from({ length: dice.between(1, 4) }, () => ({
    atMs: dice.between(Math.floor(quietMs / 3), quietMs + 3_000),
    client: dice.between(0, clients - 1),
    group: dice.between(0, groups - 1),
    everyGroup,
  }))
}

/** At times a redrive that the broker does not survive, and another one of the same letters after it. */
function withCutRedrive(plan: Plan, crash: 'kill' | 'power cut'): Plan {
  const dice = new Dice(Math.imul(plan.seed, 0xc2b2ae35) ^ 0x27d4eb2f)
  if (dice.chance(0.6)) return plan
  const { quietMs } = plan
  const atMs = dice.between(Math.floor(quietMs / 2), quietMs - 1_000)
  const client = dice.between(0, plan.clients - 1)
  const group = dice.between(0, plan.groups.length - 1)
  const [{ everyGroup } = { everyGroup: dice.chance(0.5) }] = plan.redrives
  const redrive = { atMs, client, group, everyGroup }
  const again = { ...redrive, atMs: quietMs + dice.between(1_000, 3_000) }
  // A redrive takes no time but that of its calls of the disk: it is cut within those.
  const cut = { kind: crash, atMs, forMs: dice.between(20, 400), client, group, calls: dice.between(1, 12) }
  return { ...plan, faults: [...plan.faults, cut], redrives: [...plan.redrives, redrive, again] }
}

function messagesOf(
  dice: Dice,
  clients: number,
  groups: readonly GroupPlan[],
  dedup: boolean,
  quietMs: number,
): MessagePlan[] {
  const count = dice.between(10, 50)
  const keys = dice.between(1, 4)
  const messages: MessagePlan[] = []
  let atMs = 100
  for (let n = 0; n < count; n++) {
    // Bursts and pauses.
    if (dice.chance(0.5)) atMs += dice.between(1, Math.floor((quietMs * 1.4) / count))
    const scheduled = dice.chance(0.15)
    const id = dice.chance(dedup ? 0.5 : 0.1) ? uuidOf(dice) : undefined
    messages.push({
      n,
      atMs: Math.min(atMs, quietMs),
      client: dice.between(0, clients - 1),
      key: dice.chance(0.75) ? `key${dice.between(1, keys)}` : undefined,
      ttlMs: dice.chance(0.08) ? dice.between(1, 4_000) : undefined,
      delayMs: scheduled ? dice.between(1, 8_000) : undefined,
      cancelMs: scheduled && dice.chance(0.4) ? dice.between(0, 8_000) : undefined,
      id: scheduled ? (id ?? uuidOf(dice)) : id,
      againMs:
        dedup && id !== undefined && !scheduled && dice.chance(0.4) ? dice.between(1, 4_000) : undefined,
      behaviours: groups.map((group) => behaviourOf(dice, group)),
    })
  }
  return messages
}

function behaviourOf(dice: Dice, { ackTimeoutMs }: GroupPlan): Behaviour {
  const quick = dice.between(0, 60)
  const slow = dice.between(60, 400)
  const long = Math.floor(ackTimeoutMs * (0.5 + 2 * dice.next()))
  const fate = dice.next()
  return {
    takesMs: dice.chance(0.6) ? quick : dice.chance(0.7) ? slow : long,
    fails: fate < 0.65 ? 0 : fate < 0.9 ? dice.between(1, 3) : fate < 0.96 ? 100 : 1,
    how: fate < 0.96 ? dice.pick(['throw', 'throw', 'nack', 'release'] as const) : 'terminate',
    nackDelayMs: dice.between(0, 800),
    asks: dice.chance(0.6),
    publishes: dice.chance(0.3),
  }
}

const quietKinds: readonly FaultKind[] = [
  'network',
  'network',
  'disconnect',
  'isolate',
  'stall',
  'vanish',
  'vanish',
  'stall broker',
]

function faultsOf(
  dice: Dice,
  crash: 'none' | 'kill' | 'power cut',
  onDisk: boolean,
  clients: number,
  groups: number,
  quietMs: number,
): FaultPlan[] {
  const kinds: FaultKind[] = [...quietKinds]
  if (onDisk) kinds.push('restart', 'full', 'full', 'log error', 'state error')
  if (crash !== 'none') kinds.push(crash, crash, crash, crash)
  if (dice.chance(0.12)) kinds.push('seek', 'seek')
  if (dice.chance(0.2)) kinds.push('add partition')
  return Array.from({ length: dice.between(0, 6) }, () => ({
    kind: dice.pick(kinds),
    atMs: dice.between(50, quietMs - 200),
    forMs: dice.chance(0.6) ? dice.between(20, 1_200) : dice.between(1_200, 5_000),
    client: dice.between(0, clients - 1),
    group: dice.between(0, groups - 1),
    calls: dice.chance(0.5) ? 0 : dice.between(1, 30),
  }))
}

function uuidOf(dice: Dice): string {
  const digits = Array.from({ length: 32 }, () => dice.between(0, 15).toString(16))
  digits[12] = '4'
  digits[16] = '8'
  const text = digits.join('')
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join(
    '-',
  )
}
