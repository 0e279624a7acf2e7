/**
 * The batches of a member of a queue group: what of them is to be handed out next, what is given back, and what is lost. It
 * keeps the credit right, and tells `KeyTurns` what holds the keys of messages that nobody will hand out.
 */
import type { LeaseLossReason, LeaseRange, RatatoskrError } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'
import type { CreditWindow } from './credit-window.ts'
import type { HeldBatch } from './held-batch.ts'
import type { KeyTurns } from './key-turns.ts'
import type { Settler } from './settler.ts'

const heldKey = ({ partition, lease }: Pick<LeaseRange, 'partition' | 'lease'>): string =>
  `${partition}/${lease}`

export class HeldBatches {
  readonly #credit: CreditWindow
  readonly #turns: KeyTurns<ClientMessage>
  readonly #settler: Settler
  /** Those that something is leased of and not settled. */
  readonly #held = new Map<string, HeldBatch>()
  /** Those with messages that have not been decoded, in the order in which they came. */
  #queue: HeldBatch[] = []

  constructor(credit: CreditWindow, turns: KeyTurns<ClientMessage>, settler: Settler) {
    this.#credit = credit
    this.#turns = turns
    this.#settler = settler
  }

  [Symbol.iterator](): Iterator<HeldBatch> {
    return this.#held.values()
  }

  /** True when everything that came has been decoded. */
  get isUsedUp(): boolean {
    return this.#queue.length === 0
  }

  /** Messages that have not been decoded. */
  get undecodedCount(): number {
    return this.#queue.reduce((sum, batch) => sum + batch.undecodedCount, 0)
  }

  /** A delivery whose leases have to be settled. */
  hold(batch: HeldBatch): void {
    this.#held.set(heldKey(batch), batch)
  }

  /** A delivery to be handed out. */
  queue(batch: HeldBatch): void {
    this.#queue.push(batch)
  }

  /** The next message in the order of delivery. @throws as `HeldBatch.next` does */
  next(): ClientMessage | undefined {
    while (this.#queue.length > 0) {
      const [batch] = this.#queue
      const message = batch.next()
      if (batch.undecodedCount === 0) {
        this.#queue.shift()
        this.#credit.returnBytes(batch.byteLength)
        this.#settler.schedule()
      }
      if (message !== undefined) return message
    }
    return undefined
  }

  /** Nothing that has not been decoded will be. */
  clearQueue(): void {
    this.#queue = []
  }

  /** A message of the batch is settled. */
  settledOne(batch: HeldBatch): void {
    this.#credit.returnMessages(1)
    if (batch.openCount === 0) this.#forget(batch)
  }

  /** Gives back everything that nobody has in hand. */
  releaseAll(): void {
    for (const batch of [...this.#held.values()]) this.release(batch)
  }

  /** Gives back so many messages that wait here, the last that came first. */
  releaseLast(count: number): void {
    let left = count
    for (const batch of this.#queue.toReversed()) left -= this.release(batch, left)
  }

  /** Gives back up to so many messages that wait here, the last ones first. @returns how many */
  release(batch: HeldBatch, countMax: number = Number.POSITIVE_INFINITY): number {
    const { partition, lease } = batch
    let count = 0
    for (const run of batch.waitingRuns().reverse()) {
      const from = Math.max(run.from, run.to - (countMax - count))
      if (from >= run.to) break
      for (let place = from; place < run.to; place++) {
        batch.beginSettling(place)
        this.settledOne(batch)
      }
      this.#turns.hold({ partition, lease, offset: batch.offsetOf(from) }, 0)
      this.#settler.add(batch, from, run.to, { action: 'release' })
      count += run.to - from
    }
    return count
  }

  /** Gives back a message that waits here. */
  releaseOne(batch: HeldBatch, message: ClientMessage): void {
    if (!batch.beginSettling(message.place)) return
    if (message.turn !== 0) this.#turns.hold(message, message.turn)
    this.#settler.add(batch, message.place, message.place + 1, { action: 'release' })
    this.settledOne(batch)
  }

  /** Acknowledges what of the message's partition came before it and is in somebody's hands. */
  ackBefore({ partition, offset }: ClientMessage): void {
    for (const batch of [...this.#held.values()]) {
      if (batch.partition !== partition) continue
      for (const { from, to } of batch.handedRuns(offset)) {
        for (let place = from; place < to; place++) {
          batch.beginSettling(place)
          this.settledOne(batch)
        }
        this.#settler.add(batch, from, to, { action: 'ack' })
      }
    }
  }

  /** The broker says that leases are lost. */
  lose(range: LeaseRange, reason: LeaseLossReason | RatatoskrError): void {
    const batch = this.#held.get(heldKey(range))
    if (batch === undefined) return
    const { partition, lease } = batch
    for (const offset of batch.workingOffsets()) {
      if (offset >= range.from && offset < range.to) this.#turns.overtaken({ partition, lease, offset })
    }
    this.#credit.returnMessages(batch.lose(range.from, range.to, reason))
    if (batch.openCount === 0) this.#forget(batch)
  }

  /** All leases are lost. */
  loseAll(reason: LeaseLossReason | RatatoskrError): void {
    for (const { partition, lease } of [...this.#held.values()]) {
      this.lose({ partition, lease, from: 0, to: Number.POSITIVE_INFINITY }, reason)
    }
  }

  /** The leases that are kept up here may have ended, and the broker has not said so. */
  giveUp(batch: HeldBatch): void {
    const { partition, lease } = batch
    this.release(batch)
    for (const run of batch.keptRuns()) {
      for (let place = run.from; place < run.to; place++) {
        this.#turns.hold({ partition, lease, offset: batch.offsetOf(place) }, 0)
      }
      const range = { partition, lease, from: batch.offsetOf(run.from), to: batch.offsetOf(run.to - 1) + 1 }
      this.lose(range, 'timeout')
    }
  }
  /**
   * Nothing of the batch is held any more. If it waits here it must not wait for somebody who decodes it: nobody does while it is not
   * known what is held, which a broker without credit has no occasion to say.
   */
  #forget(batch: HeldBatch): void {
    this.#held.delete(heldKey(batch))
    if (batch.undecodedCount === 0) return
    const place = this.#queue.indexOf(batch)
    if (place === -1) return
    this.#queue.splice(place, 1)
    this.#credit.returnBytes(batch.byteLength)
    this.#settler.schedule()
  }
}
