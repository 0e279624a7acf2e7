/** A queue group and its members, as a model: who may be given what, and what it must be described as. */
import type { LeasedBatch, QueueConfig, QueueCredit, QueueDescription } from 'ratatoskr/ports'
import { broken } from './broken.ts'
import { PartitionModel } from './partition.ts'
import type { StoredRecord } from './stored-log.ts'

/** Credit of a kind that was never granted has no end, as long as there was any grant. */
export class CreditModel {
  messages: number | undefined
  bytes: number | undefined

  grant({ messages, bytes }: QueueCredit): void {
    if (messages !== undefined) this.messages = (this.messages ?? 0) + messages
    if (bytes !== undefined) this.bytes = (this.bytes ?? 0) + bytes
  }

  /** @throws Error when it is not enough */
  spend(count: number, size: number): void {
    if (this.messages === undefined && this.bytes === undefined)
      throw broken('a delivery came before any credit')
    if (this.messages !== undefined && (this.messages -= count) < 0) {
      throw broken(`${count} messages came for a credit of ${this.messages + count}`)
    }
    if (this.bytes === undefined) return
    this.bytes -= size
    if (this.bytes >= 0 || (count === 1 && this.bytes + size > 0)) return
    throw broken(`${size} bytes of ${count} messages came for a credit of ${this.bytes + size} bytes`)
  }

  /** True when any message of a run fits, whatever its size. */
  get suffices(): boolean {
    const { messages, bytes } = this
    if (messages === undefined && bytes === undefined) return false
    return (messages ?? 1) > 0 && (bytes ?? largeBytes) >= largeBytes
  }
}

/** No message of a run takes as much. */
const largeBytes = 8_000

export interface MemberModel {
  readonly number: number
  readonly name: string
  readonly autoAck: boolean
  /** It asks for each delivery, and is told nothing else. */
  readonly polls: boolean
  /** It says when it begins: what it had not begun comes again uncounted when it is lost. */
  readonly begins: boolean
  readonly credit: CreditModel
  /** Its own partitions, in a partitioned group. */
  assigned: ReadonlySet<number>
  /** Its sink has said that it is full. */
  full: boolean
  seenMs: number
  /** It is taken to be gone: nothing may come any more. */
  over: boolean
}

export class GroupModel {
  readonly name: string
  /** As it is now. */
  config: QueueConfig
  readonly partitions: PartitionModel[] = []
  readonly members = new Map<number, MemberModel>()
  /** A call that polls is under way: what it is given is told with its answer. */
  taking = false
  paused = false
  readonly pausedPartitions = new Set<number>()
  /** Pausing is not certain to have been done, or undone. */
  pauseUnsure = false
  /** What happened up to then is stored. */
  #coveredMs = 0

  constructor(name: string, config: QueueConfig) {
    this.name = name
    this.config = config
  }

  partition(index: number): PartitionModel {
    while (this.partitions.length <= index) {
      this.partitions.push(new PartitionModel(this.partitions.length, () => this.config))
    }
    return this.partitions[index]
  }

  /** @param sinceLease see `PartitionModel.deliver` */
  delivered(member: MemberModel, batch: LeasedBatch, nowMs: number, sinceLease?: number): void {
    const { partition, recordCount, bytes, leaseMs } = batch
    const model = this.partition(partition)
    if (member.over) throw broken(`a delivery came to ${member.name} after its end`)
    if (member.full) throw broken(`a delivery came to ${member.name}, which is full`)
    if (!this.pauseUnsure && this.#isPaused(partition)) throw broken(`partition ${partition} is paused`)
    if (leaseMs !== (member.autoAck ? 0 : this.config.ackTimeoutMs))
      throw broken(`a lease lasts ${leaseMs} ms`)
    member.credit.spend(recordCount, bytes.length)
    model.tick(nowMs)
    if (this.config.sharing === 'partitioned') {
      if (!member.assigned.has(partition)) throw broken(`${member.name} does not own partition ${partition}`)
      if (model.heldByOthers(member.number)) throw broken(`partition ${partition} is in two hands`)
    }
    const inFlight = this.#inFlight(nowMs)
    if (inFlight + recordCount > this.config.inFlightMax) {
      throw broken(`${recordCount} more in flight than ${inFlight}, of ${this.config.inFlightMax}`)
    }
    const handsOver = this.taking || [...this.members.values()].some(({ autoAck }) => autoAck)
    model.deliver(member, batch, nowMs, handsOver, sinceLease)
  }

  left(member: MemberModel, nowMs: number): void {
    if (member.over) return
    member.over = true
    this.members.delete(member.number)
    for (const partition of this.partitions) partition.leave(member.number, nowMs)
  }

  mark(): void {
    for (const partition of this.partitions) partition.mark()
  }

  /** A checkpoint of everything up to the last mark was stored. */
  flushed(): void {
    for (const partition of this.partitions) partition.flushed()
  }

  /** The broker comes back. @param exactly its end was planned, and all was stored */
  restarted(exactly: boolean, storeWellSinceMs: number, nowMs: number): void {
    for (const member of this.members.values()) member.over = true
    this.members.clear()
    this.storeFails(storeWellSinceMs, nowMs)
    if (exactly) this.mark()
    if (exactly) this.flushed()
    for (const partition of this.partitions) partition.restart(this.#coveredMs, nowMs)
  }

  /** The store begins to fail, or to take its time: what happened before the last window is stored. */
  storeFails(storeWellSinceMs: number, nowMs: number): void {
    const windowMs = nowMs - this.config.checkpointIntervalMs - 1
    if (windowMs >= storeWellSinceMs) this.#coveredMs = Math.max(this.#coveredMs, windowMs)
  }

  /** @throws Error when the description is not what the model says */
  described(description: QueueDescription, nowMs: number): void {
    for (const { partition, lag, inFlight, delayed, ackedOffset, stableOffset } of description.partitions) {
      const model = this.partition(partition)
      const counts = model.counts(nowMs)
      const at = `partition ${partition} of ${this.name}`
      within(`${at}: lag`, lag, counts.lag)
      within(`${at}: inFlight`, inFlight, [counts.inFlight, counts.inFlight])
      within(`${at}: delayed`, delayed, counts.delayed)
      if (stableOffset !== model.messages.length) throw broken(`${at}: ends at ${stableOffset}`)
      const owed = model.unfinished(nowMs).find(({ offset }) => offset < ackedOffset)
      if (owed !== undefined)
        throw broken(`${at}: ${owed.offset} is ${owed.status} below the acked ${ackedOffset}`)
    }
  }

  /** Called when nothing goes on: nobody who could have a message waits for it. @throws Error */
  assertNobodyStarves(nowMs: number): void {
    for (const member of this.members.values()) this.assertNothingFor(member, nowMs)
  }

  /** @throws Error when there is a message that the member could have */
  assertNothingFor(member: MemberModel, nowMs: number): void {
    if (this.pauseUnsure || this.#inFlight(nowMs) >= this.config.inFlightMax) return
    if (member.full || !member.credit.suffices) return
    for (const model of this.partitions) {
      if (this.#isPaused(model.index) || !this.#mayHave(member, model)) continue
      const owed = model.owedTo(member.number, nowMs)
      if (owed === undefined) continue
      throw broken(`${member.name} could have message ${model.index}/${owed.offset}, and does not get it`)
    }
  }

  /** @throws Error when losses were not told of */
  assertAllTold(): void {
    const untold = this.partitions.flatMap((partition) => partition.untold)
    if (untold.length > 0) throw broken(`losses were not told: ${untold.join(', ')}`)
  }

  stored(partition: number, records: readonly StoredRecord[]): void {
    this.partition(partition).stored(records)
  }

  #mayHave(member: MemberModel, model: PartitionModel): boolean {
    if (this.config.sharing !== 'partitioned') return true
    // A partition that is held may be about to move.
    return member.assigned.has(model.index) && (this.members.size === 1 || !model.heldByOthers(-1))
  }

  #isPaused(partition: number): boolean {
    return this.paused || this.pausedPartitions.has(partition)
  }

  #inFlight(nowMs: number): number {
    return this.partitions.reduce((sum, partition) => sum + partition.counts(nowMs).inFlight, 0)
  }
}

function within(what: string, value: number, [min, max]: readonly [number, number]): void {
  if (value >= min && value <= max) return
  throw broken(`${what} is ${value} instead of ${min === max ? min : `${min} to ${max}`}`)
}
