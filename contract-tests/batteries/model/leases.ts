/** The leases that a group has given out of one partition, and what their holders are to be told. */
import { broken } from './broken.ts'
import type { MessageModel } from './message.ts'

interface LeaseModel {
  readonly member: number
  readonly from: number
  readonly to: number
  /** Offsets that are its holder's no more. */
  readonly lost: Set<number>
  /** It was given out before the group was moved: whether what it settled is remembered is left open. */
  old: boolean
}

export class LeaseBook {
  /** The greatest that was given out. */
  last = 0
  readonly #leases = new Map<number, LeaseModel>()
  /** Losses that live members have yet to be told of, with their reasons. */
  readonly #untold = new Map<string, string>()
  /** Members that poll: they learn of losses when they settle. */
  readonly #pollers = new Set<number>()
  readonly #nameOf: (offset: number) => string

  /** @param nameOf says which message an offset is, for whoever reads of it */
  constructor(nameOf: (offset: number) => string) {
    this.#nameOf = nameOf
  }

  find(lease: number): Readonly<LeaseModel> | undefined {
    return this.#leases.get(lease)
  }

  /** A member got the messages from `from` up to before `to`. */
  give(lease: number, member: number, from: number, to: number): void {
    this.last = Math.max(this.last, lease)
    this.#leases.set(lease, { member, from, to, lost: new Set(), old: false })
  }

  /** This member polls. */
  polls(member: number): void {
    this.#pollers.add(member)
  }

  /** A message is no longer under its lease; nobody is told. */
  endOf({ lease, offset }: MessageModel): void {
    this.#leases.get(lease)?.lost.add(offset)
  }

  /** A message was taken from its holder, who is to be told why. */
  lost(message: MessageModel, reason: string): void {
    this.endOf(message)
    const { member, lease, offset } = message
    if (!this.#pollers.has(member)) this.#untold.set(keyOf(member, lease, offset), reason)
  }

  /** A member was told of a loss. @throws Error when there was none, or another one */
  told(member: number, lease: number, offset: number, reason: string): void {
    const key = keyOf(member, lease, offset)
    const known = this.#untold.get(key)
    if (known !== reason) {
      throw broken(`${this.#nameOf(offset)} was lost by ${reason}, and the model knows ${known ?? 'nothing'}`)
    }
    this.#untold.delete(key)
  }

  /** Losses that were to be told, and were not. */
  get untold(): readonly string[] {
    return [...this.#untold].map(([key, reason]) => `${key} ${reason}`)
  }

  /** A member is gone, and hears nothing any more. */
  leave(member: number): void {
    for (const key of this.#untold.keys()) if (key.startsWith(`${member} `)) this.#untold.delete(key)
  }

  /** Nobody is there who could be told. */
  forgetUntold(): void {
    this.#untold.clear()
  }

  /** The group was moved: all leases are from before that. */
  age(): void {
    for (const lease of this.#leases.values()) lease.old = true
  }
}

const keyOf = (member: number, lease: number, offset: number): string => `${member} ${lease} ${offset}`
