/** One run: a broker, its stores, its members, time, and the model that everything is held against. */

import type { Scheduler } from 'fast-check'
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { nodeChecksum, silentLogger } from 'ratatoskr/adapters/node'
import { ManualClock, seededRandom } from 'ratatoskr/contract-tests'
import {
  type Clock,
  type LogId,
  type OutgoingMessage,
  type Platform,
  type PublishOptions,
  type PublishReceipt,
  type QueueConfig,
  type Session,
  utf8,
} from 'ratatoskr/ports'
import { broken } from './broken.ts'
import { type Gate, gatedStores } from './gated-storage.ts'
import { GroupModel } from './group.ts'
import type { Member } from './member.ts'
import type { Poller } from './poller.ts'
import type { StoredRecord } from './stored-log.ts'
import { type Crash, type LastingStorage, lastingStorage } from './stores.ts'

export const topicName = 'orders'
export const memberTimeoutMs = 5_000
/** After a failure the broker tries again after pauses; when they are over, everything must go on. */
const pausesMs = 40_000
/** The longest pause after which a checkpoint that failed is stored. */
const checkpointPauseMs = 6_000
const checksum = nodeChecksum()

export interface WorldOptions {
  readonly storage: 'memory' | 'disk'
  readonly partitions: number
  readonly groups: readonly QueueConfig[]
  readonly seed: number
}

export class World {
  readonly clock = new ManualClock(1_700_000_000_000)
  readonly options: WorldOptions
  readonly groups: readonly GroupModel[]
  readonly members: Member[] = []
  /** Calls that took something, also before a restart. */
  readonly pollers: Poller[] = []
  /** What was published and acknowledged, by name: where it stands. */
  readonly acked = new Map<string, { readonly partition: number; readonly offset: number }>()
  readonly failures: unknown[] = []
  session!: Session
  partitions: number
  /** Calls of the stores wait until they are let go. */
  holding = false
  /** Publishes that nobody waits for. */
  publishing: Promise<void>[] = []
  membersMade = 0
  #named = 0
  readonly #scheduler: Scheduler
  readonly #storage: LastingStorage
  #broker!: EmbeddedBroker
  #gate!: Gate
  #topicId = ''
  #stopping = false
  /** The store does everything at once since then. */
  #storeWellSinceMs = 0
  /** A checkpoint that failed is stored by then. */
  #retriedByMs = 0
  /** Nothing is paused after a failure any more from then on. */
  #calmFromMs = 0

  constructor(options: WorldOptions, scheduler: Scheduler) {
    this.options = options
    this.partitions = options.partitions
    this.groups = options.groups.map((config, i) => new GroupModel(`g${i}`, config))
    this.#scheduler = scheduler
    this.#storage = lastingStorage(options.storage, options.seed)
  }

  get nowMs(): number {
    return this.clock.now()
  }

  get failing(): boolean {
    const { failsState, failsLogs, failsReads } = this.#gate
    return failsState || failsLogs || failsReads
  }

  /** Some member takes what it is given for good. */
  get handsOver(): boolean {
    return this.members.some(({ model }) => model.autoAck)
  }

  get calm(): boolean {
    return !this.holding && !this.failing && this.nowMs >= this.#calmFromMs
  }

  async begin(): Promise<void> {
    await this.#start()
    await this.done(this.session.createTopic(topicName, { partitions: this.partitions }))
    this.#topicId = (await this.session.describeTopic(topicName)).id
    for (const { name, config } of this.groups) {
      await this.done(this.session.createQueue(topicName, name, config, 'earliest'))
    }
    for (const group of this.groups) group.partition(this.partitions - 1)
    this.#storeWellSinceMs = this.nowMs
  }

  /** Publishes messages of names of their own, padded to `sizeBytes`; what is acknowledged must stand where it is said to. */
  publish(
    fields: readonly Partial<OutgoingMessage>[],
    sizeBytes: number,
    options?: PublishOptions,
  ): Promise<void> {
    const names = fields.map(() => `m${++this.#named}`)
    const messages = fields.map((one, i) => ({ ...one, payload: utf8(names[i].padEnd(sizeBytes, ' .')) }))
    const publishing = this.session.publishMany(topicName, messages, options).then((results) =>
      this.guard(() => {
        for (const [i, result] of results.entries())
          if (!('error' in result)) this.#published(names[i], result)
      }),
    )
    this.publishing.push(publishing.catch(() => {}))
    return publishing
  }

  /** Waits for a call of the broker; what holds it back is let go, one after the other. */
  async done<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    promise.then(mark, mark)
    for (let turns = 0; !settled; turns++) {
      if (turns > 10_000) throw broken('a call of the broker never settled')
      await this.clock.advance(turns > 100 ? 100 : 0)
      if (!settled && this.#scheduler.count() > 0) await this.#scheduler.waitNext(1)
    }
    return promise
  }

  /** Lets everything happen that needs no time; what is held stays so. */
  async quiet(): Promise<void> {
    for (let turns = 0; ; turns++) {
      await this.clock.advance(0)
      if (this.holding || this.#scheduler.count() === 0) return
      if (turns > 10_000) throw broken('the broker never comes to rest')
      await this.#scheduler.waitNext(1)
    }
  }

  /** From now on calls of the stores wait; or those that wait have their turns. */
  async hold(holding: boolean): Promise<void> {
    if (holding === this.holding) return
    if (holding) this.#storeEnds()
    this.holding = holding
    await this.quiet()
    if (!holding) this.#storeIsWell(1, 1)
  }

  /** Lets some of what waits have its turn. */
  async letGo(count: number): Promise<void> {
    for (let i = 0; i < count && this.#scheduler.count() > 0; i++) {
      await this.#scheduler.waitNext(1)
      await this.clock.advance(0)
    }
  }

  fail(what: 'state' | 'logs' | 'reads'): void {
    if (what === 'state') {
      this.#storeEnds()
      this.#gate.failsState = true
    } else if (what === 'logs') this.#gate.failsLogs = true
    else this.#gate.failsReads = true
  }

  heal(): void {
    if (!this.failing) return
    const { failsState } = this.#gate
    this.#gate.failsState = this.#gate.failsLogs = this.#gate.failsReads = false
    if (failsState) this.#retriedByMs = this.nowMs + checkpointPauseMs
    this.#storeIsWell(1, pausesMs)
  }

  /** Time passes; members that are well give their signs of life. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; ) {
      for (const member of this.members) member.beat()
      const step = Math.min(left, memberTimeoutMs / 2)
      await this.clock.advance(step)
      await this.quiet()
      left -= step
    }
  }

  /** The process ends at once, and another begins on what is stored. */
  async crash(how: Crash): Promise<void> {
    this.#gate.dead = true
    this.publishing = []
    await this.#storage.crash(how)
    await this.#restart(false)
  }

  /** The broker is stopped as planned, and started again. */
  async restart(): Promise<void> {
    await this.hold(false)
    this.heal()
    await this.done(Promise.all(this.publishing))
    for (const member of this.members) member.leaves()
    this.#stopping = true
    await this.done(this.#broker.stop())
    this.#stopping = false
    await this.#restart(true)
  }

  /** The run is over. */
  end(): void {
    this.#gate.dead = true
  }

  /** Runs something within a call of the broker, which would take what it throws for its own business. */
  guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.failures.push(error)
    }
  }

  /** @throws the first promise that was broken */
  async check(): Promise<void> {
    await this.quiet()
    if (this.failures.length > 0) throw this.failures[0]
    for (const group of this.groups) {
      group.assertAllTold()
      group.described(await this.done(this.session.describeQueue(topicName, group.name)), this.nowMs)
      if (this.calm) group.assertNobodyStarves(this.nowMs)
    }
    if (this.failures.length > 0) throw this.failures[0]
  }

  async #restart(exactly: boolean): Promise<void> {
    for (const member of this.members) member.gone()
    this.members.length = 0
    for (const group of this.groups) group.restarted(exactly, this.#storeWellSinceMs, this.nowMs)
    this.holding = false
    await this.#start()
    this.#storeWellSinceMs = this.nowMs
  }

  async #start(): Promise<void> {
    const gate = this.#makeGate()
    this.#gate = gate
    const storage = {
      name: 'gated',
      open: (platform: Platform) => gatedStores(this.#storage.open(platform), gate),
    }
    this.#broker = await createBroker({
      storage,
      limits: { memberTimeoutMs },
      retentionIntervalMs: 1_000_000_000,
      platform: {
        clock: this.#clockOf(gate),
        logger: silentLogger,
        checksum,
        random: seededRandom(this.options.seed),
      },
    })
    await this.done(this.#broker.start())
    const peer = { transport: 'model', address: '127.0.0.1:1', local: true, encrypted: false }
    this.session = await this.done(this.#broker.facade.connect(peer, { kind: 'none' }))
  }

  /** A session of its own, which ends like a connection. */
  async connect(): Promise<Session> {
    const peer = { transport: 'model', address: '127.0.0.1:1', local: true, encrypted: false }
    return await this.done(this.#broker.facade.connect(peer, { kind: 'none' }))
  }

  #makeGate(): Gate {
    const gate: Gate = {
      dead: false,
      failsState: false,
      failsLogs: false,
      failsReads: false,
      turn: (what) => {
        if (!this.holding || gate.dead) return undefined
        return this.#scheduler.schedule(Promise.resolve(), what)
      },
      opened: (id, records) => this.guard(() => this.#opened(id, records)),
      stored: (id, records) => this.guard(() => this.#stored(id, records)),
    }
    return gate
  }

  #opened({ topicId, partition }: LogId, records: readonly StoredRecord[]): void {
    if (topicId !== this.#topicId) return
    for (const group of this.groups) group.partition(partition).reopened(records)
    for (const [name, { partition: where, offset }] of this.acked) {
      if (where === partition && records[offset]?.name !== name)
        throw broken(`${name} was acknowledged and is gone`)
    }
  }

  #stored({ topicId, partition }: LogId, records: readonly StoredRecord[]): void {
    const isOurs = topicId === this.#topicId || this.#topicId === ''
    for (const group of isOurs ? this.groups : []) group.stored(partition, records)
    for (const record of isOurs ? [] : records) {
      const name = record.headers.get('rtk-dead-letter-group')
      const group = this.groups.find((one) => one.name === name)
      if (group === undefined) throw broken(`a record of ${name ?? 'nobody'} was stored elsewhere`)
      group
        .partition(Number(record.headers.get('rtk-dead-letter-partition')))
        .buried(record, this.#stopping, this.nowMs)
    }
  }

  #published(name: string, { partition, offset }: PublishReceipt): void {
    this.acked.set(name, { partition, offset })
    const there = this.groups[0].partition(partition).messages[offset]?.name
    if (there !== name)
      throw broken(`${name} was acknowledged at ${partition}/${offset}, where ${there} stands`)
  }

  #storeEnds(): void {
    for (const group of this.groups) group.storeFails(this.#storeWellSinceMs, this.nowMs)
    this.#storeWellSinceMs = Number.POSITIVE_INFINITY
  }

  #storeIsWell(inMs: number, calmInMs: number): void {
    if (!this.#gate.failsState && !this.holding && this.#storeWellSinceMs === Number.POSITIVE_INFINITY) {
      this.#storeWellSinceMs = Math.max(this.nowMs + inMs, this.#retriedByMs)
    }
    this.#calmFromMs = Math.max(this.#calmFromMs, this.nowMs + calmInMs)
  }

  /** The clock of one life: its timers end with it, and fall due at whole milliseconds, as Node's do. */
  #clockOf(gate: Gate): Clock {
    const { clock } = this
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (delayMs, run) =>
        clock.after(Math.ceil(delayMs), () => {
          if (!gate.dead) run()
        }),
    }
  }
}
