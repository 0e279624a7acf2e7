/**
 * A member of a queue group as the client's tests play the broker for it: the test delivers batches and takes leases back, and
 * sees what is settled. Leases are kept per message, so that a settlement after a loss is refused as by the broker.
 */
import { defaultQueueConfig } from '../../domain/queue/queue-config-rules.ts'
import {
  type LeasedBatch,
  type LeasedSubscription,
  type LeaseLossReason,
  type LeaseSink,
  type MaybePromise,
  type ConsumeOptions as MemberOptions,
  nextOffsetOf,
  type QueueConfig,
  type QueueCredit,
  RatatoskrError,
  recordCountOf,
  type Settlement,
  type SettleResult,
  stampBatch,
} from '../../ports/index.ts'

export const fakeQueueConfig = defaultQueueConfig

export class FakeMember implements LeasedSubscription {
  readonly id: string
  readonly topic: string
  readonly group: string
  readonly member: string
  readonly config: QueueConfig
  readonly memberTimeoutMs = 5_000
  readonly beginsFrom: number
  readonly options: MemberOptions
  /** Credit that is left. */
  messages: number
  bytes: number
  heartbeats = 0
  over = false
  /** Settlements as they came, call by call. */
  readonly calls: Settlement[][] = []
  /** While set, calls wait for it before they are answered. */
  gate: Promise<void> | undefined
  /** Called with each call first: may throw. */
  refuse: (settlements: readonly Settlement[]) => void = () => {}
  readonly #sink: LeaseSink
  /** What each message's lease is; that of a settled one stays, below zero. */
  readonly #leases = new Map<string, number>()
  readonly #ended = Promise.withResolvers<void>()
  #lease = 0

  constructor(topic: string, options: MemberOptions, sink: LeaseSink, number: number) {
    this.id = `member-${number}`
    this.topic = topic
    this.group = options.group
    this.member = options.member ?? `member-${number}`
    this.config = { ...defaultQueueConfig, ...options.config }
    this.beginsFrom = options.begins !== true ? 0 : this.config.retriesMax === 0 ? 1 : 2
    this.options = options
    this.messages = options.credit?.messages ?? 0
    this.bytes = options.credit?.bytes ?? 0
    this.#sink = sink
    this.#lease = number * 1_000
  }

  /** Settles by the lease alone, whoever has it. */
  static settleAnywhere(members: readonly FakeMember[], settlement: Settlement): SettleResult {
    const holder = members.find((one) => one.knows(settlement))
    return holder === undefined ? refused(settlement) : holder.settleOne(settlement)
  }

  /** Everything that was settled so far, as `action from-to`. */
  get settled(): string[] {
    return this.calls
      .flat()
      .filter(({ action }) => action !== 'begin')
      .map(({ action, from, to }) => `${action} ${from}-${to}`)
  }

  /** Offsets that work began on, by what the broker was told. */
  get begun(): number[] {
    return this.calls
      .flat()
      .filter(({ action }) => action === 'begin')
      .map(({ from }) => from)
  }

  /** Delivers a batch of its own lease. @returns the lease */
  deliver(
    partition: number,
    firstOffset: number,
    bytes: Uint8Array,
    more: Partial<LeasedBatch> = {},
  ): number {
    const own = bytes.slice()
    stampBatch(own, firstOffset, 0)
    const lease = this.options.autoAck === true ? 0 : ++this.#lease
    const recordCount = recordCountOf(own)
    this.messages -= recordCount
    this.bytes -= own.length
    for (let offset = firstOffset; offset < nextOffsetOf(own); offset++) {
      this.#leases.set(`${partition}/${offset}`, lease)
    }
    void this.#sink.deliver({
      partition,
      lease,
      bytes: own,
      recordCount,
      firstOffset,
      lastOffset: nextOffsetOf(own) - 1,
      attempt: 1,
      redelivered: false,
      leaseMs: this.config.ackTimeoutMs,
      ...more,
    })
    return lease
  }

  /** Takes leases back. */
  lose(
    partition: number,
    lease: number,
    from: number,
    to: number,
    reason: LeaseLossReason = 'timeout',
  ): void {
    for (let offset = from; offset < to; offset++) this.#leases.delete(`${partition}/${offset}`)
    this.#sink.lost([{ partition, lease, from, to }], reason)
  }

  /** Takes leases back without a word: its holder learns when he settles. */
  loseSilently(partition: number, from: number, to: number): void {
    for (let offset = from; offset < to; offset++) this.#leases.delete(`${partition}/${offset}`)
  }

  assign(partitions: readonly number[]): void {
    this.#sink.assigned?.(partitions)
  }

  grant(credit: QueueCredit): void {
    this.messages += credit.messages ?? 0
    this.bytes += credit.bytes ?? 0
  }

  settle(settlements: readonly Settlement[]): MaybePromise<readonly SettleResult[]> {
    this.calls.push([...settlements])
    this.refuse(settlements)
    if (this.gate === undefined) return settlements.map((one) => this.settleOne(one))
    const cut = this.#ended.promise.then((): never => {
      throw new RatatoskrError('RTK_DISCONNECTED', 'the test cut the link')
    })
    return Promise.race([cut, this.gate.then(() => settlements.map((one) => this.settleOne(one)))])
  }

  knows({ partition, from, lease }: Settlement): boolean {
    return Math.abs(this.#leases.get(`${partition}/${from}`) ?? 0) === lease
  }

  settleOne(settlement: Settlement): SettleResult {
    const { partition, from, to, lease, action } = settlement
    let lost = 0
    for (let offset = from; offset < to; offset++) {
      const held = this.#leases.get(`${partition}/${offset}`)
      if (held === undefined || Math.abs(held) !== lease) lost++
      else if (action !== 'extend' && action !== 'begin') this.#leases.set(`${partition}/${offset}`, -lease)
    }
    return lost === 0 ? undefined : refused(settlement)
  }

  heartbeat(): void {
    this.heartbeats++
  }

  async close(): Promise<void> {
    this.end(undefined)
  }

  end(reason: RatatoskrError | undefined): void {
    if (this.over) return
    this.over = true
    this.#ended.resolve()
    this.#sink.ended(reason)
  }
}

const refused = ({ partition, from, to, lease }: Settlement): RatatoskrError =>
  new RatatoskrError('RTK_LEASE_LOST', 'not held any more', { details: { partition, from, to, lease } })
