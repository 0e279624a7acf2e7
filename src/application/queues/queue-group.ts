/**
 * A queue group on one topic: its settings, its members, and which of them may be given what. What is leased is known by
 * its partitions.
 */
import type { QueueCheckpoint } from '../../domain/queue/checkpoint.ts'
import type { ParsedChanges } from '../../domain/queue/queue-config-rules.ts'
import { queueDefaultsOf } from '../../domain/topic-config.ts'
import type {
  LeaseProof,
  OffsetRange,
  PartitionOffset,
  QueueConfig,
  QueueDescription,
  Settlement,
  SettleResult,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { LiveTopic } from '../seams.ts'
import { tellLosses, tellSettled } from './group-events.ts'
import type { HostedPartition } from './hosted-partition.ts'
import { Ownership } from './ownership.ts'
import type { PartitionHost, QueueShared } from './partition-host.ts'
import { beginAt } from './positions.ts'
import type { QueueMember } from './queue-member.ts'
import { QueuePartition } from './queue-partition.ts'
import type { QueueRecord } from './queue-store.ts'
import { settleAll } from './settle-results.ts'
import { TakingMember } from './taking-member.ts'

/** How often it is stored that members without a name were there. */
const usedEveryMs = 60_000

/** What a group needs beside what all share. */
export interface GroupHost {
  readonly topic: LiveTopic
  readonly shared: QueueShared
  /** Stores the group's settings. */
  store(record: QueueRecord): Promise<void>
  /** The partition has something to store: now, or within the group's interval. */
  dirty(partition: HostedPartition, urgent: boolean): void
  /** Checkpoints of this partition are written no more. */
  forget(partition: HostedPartition): void
  /** Told once for each gap of the topic's logs. */
  gap(partition: number, gap: OffsetRange): void
}

export class QueueGroup {
  readonly name: string
  readonly partitions: QueuePartition[] = []
  readonly #host: GroupHost
  readonly #partitionHost: PartitionHost
  readonly #members = new Map<string, QueueMember>()
  readonly #byNumber = new Map<number, QueueMember>()
  /** Members that may be given something in a group where anyone may be, who waits longest first. */
  readonly #turns = new Set<QueueMember>()
  /** Members without a name of their own, who are gone when they hold nothing. */
  readonly #passing = new Set<TakingMember>()
  /** Partitions that found nobody to give to. */
  #hungry = new Set<HostedPartition>()
  readonly #ownership: Ownership
  #record: QueueRecord
  #config: QueueConfig
  #leased = 0
  #closed = false

  /** @param checkpoints what was stored of its partitions; those without begin with their first message */
  constructor(
    name: string,
    record: QueueRecord,
    checkpoints: ReadonlyMap<number, QueueCheckpoint>,
    host: GroupHost,
  ) {
    this.name = name
    this.#record = record
    this.#config = configFor(host.topic, record.own)
    this.#host = host
    this.#ownership = new Ownership(this.partitions)
    this.#partitionHost = this.#makePartitionHost()
    this.#addPartitions(checkpoints)
  }

  get config(): QueueConfig {
    return this.#config
  }

  /** What it would be without settings of its own. */
  get defaults(): QueueConfig {
    return queueDefaultsOf(this.#host.topic.config)
  }

  /** When it had a member for the last time, Unix ms. */
  get usedAtMs(): number {
    return this.#record.usedAtMs
  }

  get memberCount(): number {
    return this.#members.size
  }

  get members(): Iterable<QueueMember> {
    return this.#members.values()
  }

  /** True while a partition is about to have its turn. */
  get turning(): boolean {
    return this.partitions.some((partition) => partition.scheduled)
  }

  /** True while a partition gets ready to give something. */
  get busy(): boolean {
    return this.partitions.some((partition) => partition.busy)
  }

  member(name: string): QueueMember | undefined {
    return this.#members.get(name)
  }

  /** Begins work, with the first member. Idempotent. */
  start(): void {
    for (const partition of this.partitions) partition.start()
  }

  /** Goes on with what needs no member. */
  resume(): void {
    for (const partition of this.partitions) partition.resume()
  }

  /** Ends work at once: whoever calls ends its members. */
  close(): void {
    this.#closed = true
    for (const partition of this.partitions) {
      this.#host.forget(partition)
      partition.close()
    }
  }

  /** Takes a member in. Whoever had its name is out, with RTK_LEASE_LOST. */
  join(member: QueueMember): void {
    const replaced = this.#members.get(member.name)
    this.#members.set(member.name, member)
    this.#byNumber.set(member.number, member)
    if (member instanceof TakingMember && member.passing) this.#passing.add(member)
    replaced?.end(
      new RatatoskrError('RTK_LEASE_LOST', `another consumer joined ${this.name} as ${member.name}`),
    )
    this.start()
    this.#rebalance(member)
  }

  /** Forgets a member; what it holds comes again. */
  leave(member: QueueMember): void {
    if (!this.#byNumber.delete(member.number)) return
    const replaced = this.#members.get(member.name) !== member
    if (!replaced) this.#members.delete(member.name)
    this.#turns.delete(member)
    const passed = this.#passing.delete(member as TakingMember)
    if (this.#closed) return
    if (this.#members.size === 0 && !(passed && this.#wasJustUsed)) this.used()
    for (const partition of this.partitions) partition.leave(member)
    if (!replaced) this.#rebalance() // otherwise with the one that takes its place
    this.#feedAll()
  }

  /** A call of a member has ended: without a name of its own and without leases it has no further part in the group. */
  retire(member: TakingMember): void {
    if (!this.#passing.has(member) || member.calling) return
    if (this.partitions.every((partition) => partition.heldBy(member) === 0)) member.end(undefined)
  }

  /** A member may be given something. */
  ready(member: QueueMember): void {
    if (this.#members.get(member.name) !== member) return
    this.#turns.add(member)
    this.#feedAll()
  }

  partitionsAdded(): void {
    const before = this.partitions.length
    this.#addPartitions(new Map())
    if (this.#members.size > 0) this.start()
    if (this.partitions.length > before) this.#rebalance()
  }

  settle(settlements: readonly Settlement[]): readonly SettleResult[] {
    return settleAll(settlements, (one) => this.partitions[one.partition].settle(one))
  }

  holds({ partition, lease, offset }: LeaseProof): boolean {
    return this.partitions[partition]?.holds(lease, offset) ?? false
  }

  /** Goes on at these offsets; whoever calls stores it. */
  seek(offsets: readonly PartitionOffset[]): void {
    for (const { partition, offset } of offsets) this.partitions[partition].seek(offset)
  }

  /** Sets what is given for this group, and takes back what is unset. @throws RTK_GROUP_MISMATCH, what the state store throws */
  async configure({ set, unset }: ParsedChanges): Promise<void> {
    const { sharing, ...others } = this.#record.own
    const kept = Object.entries(others).filter(([name]) => !(unset as readonly string[]).includes(name))
    const known = unset.includes('sharing') ? this.defaults.sharing : sharing
    const own = { sharing: known, ...Object.fromEntries(kept), ...set }
    if (own.sharing !== this.config.sharing && this.#members.size > 0) {
      throw new RatatoskrError(
        'RTK_GROUP_MISMATCH',
        `the group ${this.name} has members, who share as ${this.config.sharing}; close them to change that`,
      )
    }
    await this.#change({ own })
    this.topicChanged()
  }

  /** What it does not have of its own, it has of its topic. */
  topicChanged(): void {
    this.#config = configFor(this.#host.topic, this.#record.own)
    for (const partition of this.partitions) partition.configured()
    this.#feedAll()
  }

  /** @throws what the state store throws */
  async pause(paused: boolean, partitions: readonly number[] | undefined): Promise<void> {
    if (partitions === undefined) {
      await this.#change({ paused, pausedPartitions: [] })
    } else {
      const named = new Set(partitions)
      const others = this.#record.pausedPartitions.filter((one) => !named.has(one))
      await this.#change({ pausedPartitions: paused ? [...others, ...named] : others })
    }
    this.#applyPauses()
    for (const partition of this.partitions) partition.schedule()
  }

  /** The first offset of a partition that the group has still to finish. */
  owedFrom(index: number): number {
    return this.partitions[index].stored.owedFrom
  }

  describe(): QueueDescription {
    const partitions = this.partitions.map((partition) => partition.describe())
    return {
      topic: this.#host.topic.text,
      group: this.name,
      state: this.#members.size === 0 ? 'empty' : 'stable',
      paused: this.#record.paused,
      config: this.config,
      members: [...this.#members.values()].map((member) => ({
        member: member.name,
        partitions: this.#ownership.of(member),
        inFlight: this.partitions.reduce((sum, partition) => sum + partition.heldBy(member), 0),
      })),
      partitions,
      lag: partitions.reduce((sum, { lag }) => sum + lag, 0),
    }
  }

  #addPartitions(checkpoints: ReadonlyMap<number, QueueCheckpoint>): void {
    const { topic } = this.#host
    for (let index = this.partitions.length; index < topic.partitions.length; index++) {
      const log = topic.partitions[index]
      const begin = checkpoints.get(index) ?? beginAt(log.startOffset)
      this.partitions.push(new QueuePartition(log, begin, this.#partitionHost))
    }
    this.#applyPauses()
  }

  #applyPauses(): void {
    const { paused, pausedPartitions } = this.#record
    for (const partition of this.partitions) {
      partition.paused = paused || pausedPartitions.includes(partition.index)
    }
  }

  async #change(changes: Partial<QueueRecord>): Promise<void> {
    const record = { ...this.#record, ...changes }
    await this.#host.store(record)
    this.#record = record
  }

  /** Remembers when it was used last. */
  used(): void {
    const usedAtMs = this.#host.shared.clock.now()
    this.#change({ usedAtMs }).catch((error) =>
      this.#host.shared.logger.warn('when a queue group was used last was not stored', {
        group: this.name,
        cause: error,
      }),
    )
  }

  /** Members that come and go with each call need not all be written down. */
  get #wasJustUsed(): boolean {
    const { groupExpiryMs } = this.config
    const forMs = groupExpiryMs === -1 ? usedEveryMs : Math.min(usedEveryMs, groupExpiryMs / 4)
    return this.#host.shared.clock.now() - this.#record.usedAtMs < forMs
  }

  #rebalance(joined?: QueueMember): void {
    if (this.config.sharing !== 'partitioned') {
      joined?.assigned(this.partitions.map(({ index }) => index))
      return
    }
    this.#told(this.#ownership.share([...this.#members.values()]), joined)
    for (const partition of this.partitions) partition.schedule()
  }

  #told(changed: ReadonlySet<QueueMember>, joined?: QueueMember): void {
    for (const member of joined === undefined ? changed : new Set([...changed, joined])) {
      if (this.#members.get(member.name) === member) member.assigned(this.#ownership.of(member))
    }
  }

  #feedAll(): void {
    const hungry = this.#hungry
    if (hungry.size === 0) return
    this.#hungry = new Set()
    for (const partition of hungry) partition.schedule()
  }

  *#takers(partition: HostedPartition): Generator<QueueMember, void, undefined> {
    const { sharing } = this.config
    if (sharing === 'partitioned') {
      const { owner, moving } = partition
      if (owner?.ready === true && !moving) yield owner
      return
    }
    for (const member of this.#turns) {
      if (!member.ready) {
        this.#turns.delete(member) // it comes back when it is
        continue
      }
      yield member
      if (sharing === 'shared') return // what is not for this one is for nobody
    }
  }

  #leasedChanged(partition: HostedPartition, by: number): void {
    const { inFlightMax } = this.config
    const wasFull = this.#leased >= inFlightMax
    this.#leased += by
    if (partition.moving && by < 0) {
      const changed = this.#ownership.drained(partition)
      if (changed.size > 0) {
        this.#told(changed)
        partition.schedule()
      }
    }
    if (wasFull && this.#leased < inFlightMax) this.#feedAll()
    if (by < 0) for (const member of this.#passing) if (partition.heldBy(member) === 0) this.retire(member)
  }

  #makePartitionHost(): PartitionHost {
    const group = this
    const { topic, shared, dirty, gap } = this.#host
    const source = { topic, group: this.name, hooks: shared.hooks }
    return {
      ...shared,
      topic,
      group: this.name,
      get config() {
        return group.config
      },
      get ordered() {
        return group.config.sharing !== 'shared'
      },
      get room() {
        return group.config.inFlightMax - group.#leased
      },
      get readyMembers() {
        return group.config.sharing === 'partitioned' ? 1 : group.#turns.size
      },
      takers: (partition) => this.#takers(partition),
      served: (member) => {
        if (this.#turns.delete(member)) this.#turns.add(member)
      },
      ready: (member) => this.ready(member),
      hungry: (partition) => void this.#hungry.add(partition),
      leasedChanged: (partition, by) => this.#leasedChanged(partition, by),
      lost: (partition, losses) =>
        tellLosses(source, partition, losses, (number) => this.#byNumber.get(number)),
      settled: (partition, settlement, attempt) => tellSettled(source, partition, settlement, attempt),
      reviewTakes: () => {
        for (const member of this.#members.values()) if (member instanceof TakingMember) member.review()
      },
      dirty,
      gap,
    }
  }
}

const configFor = ({ config }: LiveTopic, own: Partial<QueueConfig>): QueueConfig => ({
  ...queueDefaultsOf(config),
  ...own,
})
