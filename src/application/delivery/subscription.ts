/**
 * A pushed subscription: cursors, one a partition, whose reads go to one sink while it has credit. It takes turns with
 * the others in the runner's ring, one read a turn, and goes round its own partitions the same way. While a read or
 * the sink's promise is open it is out of the ring: a stalled sink pauses nobody else and pins nothing.
 */
import type {
  BatchDelivery,
  CommittedOffset,
  Credit,
  DroppedMessages,
  MaybePromise,
  Overflow,
  PartitionOffset,
  Subscription,
} from '../../ports/index.ts'
import { RatatoskrError, toRatatoskrError } from '../../ports/index.ts'
import type { GroupMember } from '../groups/member.ts'
import { handledElsewhere, isPromise } from '../maybe-promise.ts'
import type { Cursor, CursorHolder } from './cursor.ts'
import type { Outlet, OutletHost } from './outlet.ts'
import { type GuardedSubscription, OverflowGuard } from './overflow.ts'
import type { Steppable } from './runner.ts'
import type { SubscriptionHost, SubscriptionIdentity } from './subscription-host.ts'

export class PushSubscription
  implements Subscription, GroupMember, CursorHolder, Steppable, OutletHost, GuardedSubscription
{
  readonly id: string
  readonly topic: string
  readonly group: string | undefined
  readonly member: string
  readonly anonymous = false
  /** Why it is over; kept for commits that come too late. */
  endReason: RatatoskrError | undefined
  readonly #host: SubscriptionHost
  readonly #outlet: Outlet
  /** Undefined when it may fall behind as far as it likes. */
  readonly #guard: OverflowGuard | undefined
  /** Made when somebody waits for the end: most subscriptions are many, and nobody does. */
  #closed: PromiseWithResolvers<void> | undefined
  /** What the sink's promise is followed by; made when the sink is full for the first time. */
  #afterSink: { readonly ready: () => void; readonly failed: (error: unknown) => void } | undefined
  #cursors: readonly Cursor[] = []
  /** Cursors that may have something to read, in the order of their turns. */
  #ready: Cursor[] = []
  /** Cursors whose next batch is larger than the credit. */
  #blocked: Cursor[] = []
  /** The cursor whose read is under way. */
  #reading: Cursor | undefined
  #over = false
  #busy = false
  #scheduled = false
  #inSink = false
  #assignedDue = false
  #endedDue = false
  #endTold = false

  /**
   * @param makeOutlet makes the outlet for this subscription as its host
   * @param overflow checked
   */
  constructor(
    identity: SubscriptionIdentity,
    host: SubscriptionHost,
    makeOutlet: (host: OutletHost) => Outlet,
    overflow?: Overflow,
  ) {
    this.id = identity.id
    this.topic = identity.topic
    this.group = identity.group
    this.member = identity.member
    this.#host = host
    this.#outlet = makeOutlet(this)
    const guarded = overflow !== undefined && overflow.policy !== 'pause'
    this.#guard = guarded ? new OverflowGuard(overflow, host, this) : undefined
  }

  get name(): string {
    return this.member
  }

  get isOver(): boolean {
    return this.#over
  }

  get cursors(): readonly Cursor[] {
    return this.#cursors
  }

  get interrupted(): boolean {
    return this.#assignedDue || this.#over
  }

  grant(credit: Credit): void {
    if (this.#over) return
    this.#outlet.grant(credit)
    if (this.#blocked.length > 0) this.#ready.push(...this.#blocked.splice(0))
    this.#goesOn()
    this.#again()
  }

  async commit(offsets: readonly CommittedOffset[]): Promise<void> {
    await this.#host.commit(this, offsets)
  }

  close(): Promise<void> {
    this.end(undefined)
    if (this.#endTold) return Promise.resolve()
    this.#closed ??= Promise.withResolvers()
    return this.#closed.promise
  }

  /** Reads with these cursors from now on, and tells the sink. Cursors that it had before go on where they stand. */
  assign(cursors: readonly Cursor[]): void {
    if (this.#over) return
    const kept = new Set(cursors)
    for (const cursor of this.#cursors) if (!kept.has(cursor)) this.#letGo(cursor)
    this.#cursors = cursors
    for (const cursor of cursors) cursor.holder = this
    this.#blocked = []
    this.#ready = cursors.filter((cursor) => cursor.waitIndex === -1 && cursor !== this.#reading)
    this.#guard?.assigned(cursors)
    this.#tellAssigned()
    this.#again()
  }

  evict(reason: RatatoskrError): void {
    this.end(reason)
  }

  /** Ends it, once: nothing is delivered from here on. `failed` when its sink, or a batch for it, was the reason. */
  end(reason: RatatoskrError | undefined, failed = false): void {
    if (this.#over) return
    this.#over = true
    this.endReason = reason
    for (const cursor of this.#cursors) this.#letGo(cursor)
    this.#cursors = []
    this.#ready = []
    this.#blocked = []
    this.#outlet.drop()
    this.#guard?.close()
    this.#host.over(this, reason, failed)
    if (this.#inSink) this.#endedDue = true
    else this.#tellEnded()
  }

  cursorWoken(cursor: Cursor): void {
    this.#ready.push(cursor)
    this.#again()
  }

  delivered(partition: number, fromOffset: number, recordCount: number, sizeBytes: number): void {
    const { topic, group } = this
    this.#host.delivered({
      topic,
      partition,
      group,
      subscriptionId: this.id,
      fromOffset,
      recordCount,
      sizeBytes,
    })
  }

  passedOver(sizeBytes: number): void {
    this.#host.passedOver(sizeBytes)
  }

  letGoOfRead(cursor: Cursor): void {
    if (this.#outlet.unfinished === cursor) this.#outlet.drop()
  }

  tooSlow({ partition, fromOffset, toOffset }: DroppedMessages): void {
    const messagesBehind = toOffset - fromOffset
    const message = `the subscriber takes nothing and is ${messagesBehind} messages behind in partition ${partition}, more than its overflow bound`
    const details = { partition, offset: fromOffset, messagesBehind }
    this.end(new RatatoskrError('RTK_SUBSCRIBER_TOO_SLOW', message, { details }))
  }

  /** One turn: what is left of the last read, or one read. */
  step(): void {
    this.#scheduled = false
    if (this.#over || this.#busy || !this.#outlet.open) return
    try {
      if (this.#outlet.unfinished !== undefined) this.#handOver(undefined, undefined)
      else this.#readNext()
    } catch (error) {
      this.end(toRatatoskrError(error), true)
    }
  }

  #again(): void {
    if (this.#scheduled || this.#busy || this.#over || !this.#outlet.open) return
    if (this.#ready.length === 0 && this.#outlet.unfinished === undefined) return
    this.#scheduled = true
    this.#host.runner.schedule(this)
  }

  #readNext(): void {
    const ready = this.#ready
    // A list that shift empties gives its memory away, and has it made anew by the next cursor.
    const cursor = ready.length === 1 ? ready.pop() : ready.shift()
    if (cursor === undefined) return
    if (this.#guard !== undefined) {
      this.#guard.beforeRead(cursor)
      for (const dropped of this.#guard.takeUntold()) this.#tell(() => this.#outlet.sink.dropped?.(dropped))
      if (this.#over) return
    }
    const move = cursor.adjust()
    if (move !== undefined) {
      this.#host.logger.warn('a subscription was moved to where its log can be read', {
        subscription: this.id,
        topic: this.topic,
        partition: cursor.partition,
        ...move,
      })
      this.#tellAssigned()
      if (this.#over) return
    }
    if (!cursor.readable) {
      cursor.feed.wait(cursor)
      this.#again()
      return
    }
    let found: MaybePromise<BatchDelivery>
    try {
      found = cursor.feed.read(cursor.offset, this.#outlet.readBytesMax)
    } catch (error) {
      this.#readFailed(cursor, error)
      return
    }
    if (!isPromise(found)) {
      this.#take(cursor, found)
      return
    }
    this.#busy = true
    this.#reading = cursor
    found.then(
      (delivery) => this.#readArrived(cursor, delivery),
      (error) => this.#readFailed(cursor, error),
    )
  }

  #readArrived(cursor: Cursor, delivery: BatchDelivery): void {
    this.#busy = false
    this.#reading = undefined
    if (this.#over) return
    // A cursor that was taken away meanwhile reads no more.
    if (cursor.holder === this) this.#take(cursor, delivery)
    else this.#again()
  }

  /** What is lost is passed over, and a log that cannot be read now is tried again. */
  #readFailed(cursor: Cursor, thrown: unknown): void {
    this.#busy = false
    this.#reading = undefined
    if (this.#over) return
    if (cursor.holder === this) {
      const { feed } = cursor
      const error = toRatatoskrError(thrown)
      if (feed.passOver(cursor, error) || cursor.offset < feed.partition.startOffset) {
        this.#ready.push(cursor)
      } else if (error.kind === 'corrupt' && feed.partition.state === 'online') {
        this.end(error) // damage, and nobody says where it ends
        return
      } else {
        this.#readLater(cursor, error)
      }
    }
    this.#again()
  }

  #readLater(cursor: Cursor, error: RatatoskrError): void {
    cursor.feed.waitAfterFailure(cursor, error)
    if (error.kind === 'unavailable' || error.kind === 'corrupt') return
    this.#host.logger.warn('a partition could not be read for a subscription; trying again', {
      subscription: this.id,
      topic: this.topic,
      partition: cursor.partition,
      code: error.code,
      cause: error.cause,
    })
  }

  #take(cursor: Cursor, found: BatchDelivery): void {
    const delivery = this.#guard === undefined ? found : this.#guard.within(cursor, found)
    const sizeBytes = delivery.bytes.length
    if (sizeBytes === 0) {
      cursor.feed.waitAfterFailure(cursor) // the log said that there is something
    } else if (this.#outlet.fits(sizeBytes)) {
      this.#ready.push(cursor)
      this.#handOver(cursor, delivery)
      return
    } else {
      this.#blocked.push(cursor)
      this.#guard?.stands(this.#cursors)
    }
    this.#again()
  }

  /** Gives the sink a new delivery, or more of the last. */
  #handOver(cursor: Cursor | undefined, delivery: BatchDelivery | undefined): void {
    let full: MaybePromise<void>
    this.#inSink = true
    try {
      full =
        cursor === undefined || delivery === undefined
          ? this.#outlet.resume()
          : this.#outlet.offer(cursor, delivery)
    } catch (error) {
      this.#inSink = false
      this.#sinkFailed(error)
      return
    }
    this.#inSink = false
    if (this.#endedDue) this.#tellEnded()
    else if (this.#assignedDue) this.#tellAssigned()
    if (isPromise(full)) {
      this.#busy = true
      this.#afterSink ??= {
        ready: () => this.#sinkReady(),
        failed: (error) => this.#sinkFailed(error),
      }
      full.then(this.#afterSink.ready, this.#afterSink.failed)
    }
    if (this.#guard === undefined) this.#waitAtEnd()
    else if (!this.#over && (this.#busy || !this.#outlet.open)) this.#guard.stands(this.#cursors)
    this.#again()
  }

  /** A cursor that has come to the end waits there: a turn more would find out no more than that. */
  #waitAtEnd(): void {
    if (this.#ready.length !== 1 || this.#outlet.unfinished !== undefined) return
    const [cursor] = this.#ready
    if (!cursor.atEnd) return
    this.#ready.pop()
    cursor.feed.wait(cursor)
  }

  #sinkReady(): void {
    this.#busy = false
    this.#goesOn()
    this.#again()
  }

  /** It may be able to take something again, after a time in which it was not. */
  #goesOn(): void {
    if (this.#guard === undefined || this.#over || !this.#outlet.open) return
    if (this.#busy && this.#reading === undefined) return // the sink is full
    this.#guard.goesOn(this.#cursors, this.#reading)
    if (this.#blocked.length > 0) this.#guard.stands(this.#cursors)
  }

  #sinkFailed(error: unknown): void {
    this.#busy = false
    if (this.#endedDue) this.#tellEnded()
    else this.end(toRatatoskrError(error), true)
  }

  #letGo(cursor: Cursor): void {
    cursor.feed.forget(cursor)
    cursor.holder = undefined
    if (this.#outlet.unfinished === cursor) this.#outlet.drop()
  }

  /** Sinks are told one thing at a time: within a delivery this waits until it has returned. */
  #tellAssigned(): void {
    this.#assignedDue = this.#inSink
    if (this.#inSink) return
    const offsets: PartitionOffset[] = this.#cursors.map((cursor) => ({
      partition: cursor.partition,
      offset: cursor.offset,
    }))
    this.#tell(() => this.#outlet.sink.assigned?.(offsets))
  }

  #tell(say: () => void): void {
    this.#inSink = true
    try {
      say()
    } catch (error) {
      this.#inSink = false
      this.#sinkFailed(error)
      return
    }
    this.#inSink = false
    if (this.#endedDue) this.#tellEnded()
    else if (this.#assignedDue) this.#tellAssigned()
  }

  #tellEnded(): void {
    this.#endedDue = false
    try {
      const told: unknown = this.#outlet.sink.ended(this.endReason)
      if (isPromise(told)) handledElsewhere(told)
    } catch (error) {
      this.#host.logger.warn('a sink threw when it was told of its end', {
        subscription: this.id,
        cause: error,
      })
    }
    this.#endTold = true
    this.#closed?.resolve()
  }
}
