/** A member of a queue group: what it is told goes to the model, and it does as the commands of a run say. */
import type {
  LeasedBatch,
  LeasedSubscription,
  LeaseRange,
  LeaseSink,
  QueueCredit,
  RatatoskrError,
  Session,
  Settlement,
} from 'ratatoskr/ports'
import { broken } from './broken.ts'
import { CreditModel, type GroupModel, type MemberModel } from './group.ts'
import { settleAsExpected } from './poller.ts'
import { memberTimeoutMs, topicName, type World } from './world.ts'

export interface MemberOptions {
  readonly name: string
  readonly autoAck: boolean
  readonly begins: boolean
  readonly credit: QueueCredit
  /** Deliveries that it takes before it says that it is full. */
  readonly fullAfter: number
}

export class Member implements LeaseSink {
  readonly group: GroupModel
  readonly model: MemberModel
  /** What it was given, also what it holds no more. */
  readonly batches: LeasedBatch[] = []
  /** It gives no signs of life. */
  silent = false
  #world: World
  #options: MemberOptions
  #session!: Session
  #subscription: LeasedSubscription | undefined
  #room = Promise.withResolvers<void>()
  /** Somebody asked for its end. */
  #leaving = false

  constructor(world: World, group: GroupModel, options: MemberOptions) {
    this.#world = world
    this.#options = options
    this.group = group
    this.model = {
      number: ++world.membersMade,
      name: options.name,
      autoAck: options.autoAck,
      polls: false,
      begins: options.begins && !options.autoAck,
      credit: new CreditModel(),
      assigned: new Set(),
      full: false,
      seenMs: world.nowMs,
      over: false,
    }
  }

  async join(): Promise<void> {
    const { name: member, autoAck, begins, credit } = this.#options
    this.model.credit.grant(credit)
    this.model.seenMs = this.#world.nowMs
    const same = this.#world.members.find((one) => one.group === this.group && one.model.name === member)
    if (same !== undefined) same.#leaving = true
    this.#session = await this.#world.connect()
    this.group.members.set(this.model.number, this.model)
    this.#world.members.push(this)
    const options = { group: this.group.name, member, autoAck, begins, credit }
    this.#subscription = await this.#world.done(this.#session.consume(topicName, options, this))
  }

  deliver(batch: LeasedBatch): void | Promise<void> {
    this.#world.guard(() => this.group.delivered(this.model, batch, this.#world.nowMs))
    this.batches.push(batch)
    if (this.batches.length % this.#options.fullAfter !== 0) return
    this.model.full = true
    return this.#room.promise
  }

  lost(ranges: readonly LeaseRange[], reason: string): void {
    this.#world.guard(() => {
      for (const { partition, lease, from, to } of ranges) {
        const model = this.group.partition(partition)
        model.tick(this.#world.nowMs)
        for (let offset = from; offset < to; offset++)
          model.toldLost(this.model.number, lease, offset, reason)
      }
    })
  }

  assigned(partitions: readonly number[]): void {
    this.model.assigned = new Set(partitions)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.#world.guard(() => {
      const silentMs = this.#world.nowMs - this.model.seenMs
      if (!this.#leaving && !this.model.over && silentMs < memberTimeoutMs) {
        throw broken(`${this.model.name} was ended after ${silentMs} ms: ${reason?.message}`)
      }
      this.group.left(this.model, this.#world.nowMs)
    })
    const at = this.#world.members.indexOf(this)
    if (at !== -1) this.#world.members.splice(at, 1)
  }

  /** A sign of life, when it gives any. */
  beat(): void {
    if (this.silent) return
    this.model.seenMs = this.#world.nowMs
    this.#subscription?.heartbeat()
  }

  grant(credit: QueueCredit): void {
    this.model.seenMs = this.#world.nowMs
    this.model.credit.grant(credit)
    this.#subscription?.grant(credit)
  }

  /** Its sink has room again. */
  makeRoom(): void {
    this.model.full = false
    const room = this.#room
    this.#room = Promise.withResolvers()
    room.resolve()
  }

  /** @throws Error when the broker does something else than the model */
  async settle(settlements: readonly Settlement[]): Promise<void> {
    const subscription = this.#subscription
    if (subscription === undefined) return
    this.model.seenMs = this.#world.nowMs
    await settleAsExpected(this.group, settlements, this.#world.nowMs, () => subscription.settle(settlements))
  }

  /** Acknowledges everything that it was ever given. */
  async ackAll(): Promise<void> {
    const given = this.batches.map(
      ({ partition, lease, firstOffset: from, lastOffset }): Settlement => ({
        partition,
        lease,
        from,
        to: lastOffset + 1,
        action: 'ack',
      }),
    )
    if (!this.model.autoAck) await this.settle(given)
  }

  /** It leaves as planned, or its connection is gone. */
  async leave(how: 'close' | 'disconnect'): Promise<void> {
    this.#leaving = true
    await this.#world.done(
      how === 'close' ? (this.#subscription?.close() ?? Promise.resolve()) : this.#session.close(),
    )
  }

  /** Its end is asked for. */
  leaves(): void {
    this.#leaving = true
  }

  /** The broker is gone. */
  gone(): void {
    this.model.over = true
    this.#leaving = true
  }
}
