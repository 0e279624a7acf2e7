/** What a lease table is compared with: the same rules over one map, each written down as it is said, none of it fast. */
import type { Loss, SettleCounts, SettleKind } from '../lease-types.ts'

/** One message that is not settled. */
export interface NaiveMessage {
  readonly offset: number
  /** 0 without. */
  readonly key: number
  state: 'waiting' | 'leased' | 'delayed' | 'failing'
  attempts: number
  /** Whether it was delivered before. */
  seen: boolean
  dueMs: number
  lease: number
  member: number
  deadlineMs: number
}

/** The naive model of a partition of a queue group. */
export class NaiveQueue {
  readonly messages = new Map<number, NaiveMessage>()
  nextOffset = 0
  losses: Loss[] = []
  /** Everything that failed, in order. */
  failed: number[] = []
  /** By lease and offset: messages that a lease settled. */
  #settledBy = new Set<string>()
  readonly #ordered: boolean
  readonly #retriesMax: number

  constructor(ordered: boolean, retriesMax: number) {
    this.#ordered = ordered
    this.#retriesMax = retriesMax
  }

  get floor(): number {
    return Math.min(this.nextOffset, ...this.messages.keys())
  }

  count(state: NaiveMessage['state']): number {
    return [...this.messages.values()].filter((message) => message.state === state).length
  }

  admit(to: number, keyOf: (offset: number) => number, absent: (offset: number) => boolean): void {
    for (; this.nextOffset < to; this.nextOffset++) {
      const offset = this.nextOffset
      if (absent(offset)) continue
      this.messages.set(offset, {
        offset,
        key: keyOf(offset),
        state: 'waiting',
        attempts: 0,
        seen: false,
        dueMs: 0,
        lease: 0,
        member: 0,
        deadlineMs: 0,
      })
    }
  }

  /** @param since earlier leases of the member hold a key back as those of others do */
  mayHave(offset: number, member: number, since = 0): boolean {
    const message = this.messages.get(offset)
    if (message?.state !== 'waiting') return false
    return this.#sameKey(message)
      .filter((other) => other.offset < offset)
      .every((other) => isHeldBy(other, member, since))
  }

  /** As `mayHave` of each, when he gets those before it as well. */
  mayHaveAll(from: number, to: number, member: number, since = 0): boolean {
    for (let offset = from; offset < to; offset++) {
      const message = this.messages.get(offset)
      if (message?.state !== 'waiting' || message.attempts !== this.messages.get(from)?.attempts) return false
      const before = this.#sameKey(message).filter((other) => other.offset < from)
      if (!before.every((other) => isHeldBy(other, member, since))) return false
    }
    return true
  }

  lease(from: number, to: number, member: number, lease: number, deadlineMs: number): void {
    for (const message of this.#range(from, to)) {
      message.attempts++
      Object.assign(message, { state: 'leased', seen: true, lease, member, deadlineMs })
    }
  }

  settle(
    kind: SettleKind,
    lease: number,
    from: number,
    to: number,
    nowMs: number,
    delayMs: number,
  ): SettleCounts {
    const held = this.#range(from, to).filter((message) => this.holds(lease, message.offset))
    let repeated = 0
    for (let offset = from; offset < to; offset++) {
      if (!held.some((message) => message.offset === offset) && this.#settledBy.has(`${lease} ${offset}`))
        repeated++
    }
    for (const message of held) {
      this.#settledBy.add(`${lease} ${message.offset}`)
      if (kind === 'ack') this.messages.delete(message.offset)
      else if (kind === 'release') this.#giveBack(message, false)
      else if (kind === 'terminate' || this.#exhausted(message)) this.#fail(message)
      else if (delayMs > 0) Object.assign(message, { state: 'delayed', dueMs: nowMs + delayMs })
      else this.#giveBack(message, true)
    }
    if (kind !== 'ack') for (const message of held) this.#takeBackAfter(message)
    return { settled: held.length, repeated, lost: to - from - held.length - repeated }
  }

  extend(lease: number, from: number, to: number, deadlineMs: number): void {
    for (const message of this.#range(from, to)) {
      if (this.holds(lease, message.offset)) message.deadlineMs = deadlineMs
    }
  }

  holds(lease: number, offset: number): boolean {
    const message = this.messages.get(offset)
    return message?.state === 'leased' && message.lease === lease
  }

  expire(nowMs: number): void {
    const over = [...this.messages.values()].filter(
      (message) => message.state === 'leased' && message.deadlineMs <= nowMs,
    )
    for (const message of over) this.#lose(message, 'timeout')
    this.endDelays(nowMs)
  }

  endDelays(nowMs: number): void {
    for (const message of this.messages.values()) {
      if (message.state === 'delayed' && message.dueMs <= nowMs) message.state = 'waiting'
    }
    this.#restoreOrder()
  }

  leave(member: number): void {
    const held = [...this.messages.values()].filter(
      (message) => message.state === 'leased' && message.member === member,
    )
    for (const message of held) this.#lose(message, undefined)
    this.#restoreOrder()
  }

  seek(offset: number): void {
    for (const message of this.messages.values()) {
      if (message.state === 'leased') this.#tell(message, 'seek')
    }
    this.messages.clear()
    this.#settledBy.clear()
    this.nextOffset = offset
  }

  /** The broker was killed: what was leased waits again. */
  crash(): void {
    this.#settledBy.clear()
    for (const message of this.messages.values()) if (message.state === 'leased') message.state = 'waiting'
  }

  #lose(message: NaiveMessage, reason: Loss['reason'] | undefined): void {
    if (reason !== undefined) this.#tell(message, reason)
    if (this.#exhausted(message)) this.#fail(message)
    else this.#giveBack(message, true)
  }

  #giveBack(message: NaiveMessage, counts: boolean): void {
    message.state = 'waiting'
    if (!counts) message.attempts--
  }

  #fail(message: NaiveMessage): void {
    message.state = 'failing'
    this.failed.push(message.offset)
  }

  #exhausted(message: NaiveMessage): boolean {
    return message.attempts > this.#retriesMax
  }

  /** No message of a key is leased behind one that is not. */
  #restoreOrder(): void {
    if (!this.#ordered) return
    const held = new Set<number>()
    for (const message of [...this.messages.values()].sort((one, other) => one.offset - other.offset)) {
      if (message.key === 0) continue
      if (message.state !== 'leased') held.add(message.key)
      else if (held.has(message.key)) this.#takeBack(message)
    }
  }

  #takeBackAfter(message: NaiveMessage): void {
    for (const other of this.#sameKey(message)) {
      if (other.offset > message.offset && other.state === 'leased') this.#takeBack(other)
    }
  }

  #takeBack(message: NaiveMessage): void {
    this.#tell(message, 'order')
    this.#giveBack(message, false)
  }

  #tell({ member, lease, offset }: NaiveMessage, reason: Loss['reason']): void {
    this.losses.push({ member, lease, from: offset, to: offset + 1, reason })
  }

  #sameKey(message: NaiveMessage): NaiveMessage[] {
    if (!this.#ordered || message.key === 0) return []
    return [...this.messages.values()].filter(({ key }) => key === message.key)
  }

  #range(from: number, to: number): NaiveMessage[] {
    return [...this.messages.values()].filter(({ offset }) => offset >= from && offset < to)
  }
}

const isHeldBy = (message: NaiveMessage, member: number, since: number): boolean =>
  message.state === 'leased' && message.member === member && message.lease >= since
