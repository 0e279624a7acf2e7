/**
 * Finds members that are silent for too long, and notices when it was this process that was not there to hear them: a timer
 * that comes late by more than a second is proof that nothing else was done meanwhile either.
 */
import type { Clock, Logger } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { QueueMember } from './queue-member.ts'

/** How often the process looks whether it stalled, while there are members. */
const watchMs = 500
/** How late a timer may be. */
const lateMsMax = 1_000

/** What a member belongs to, for the log. */
interface Of {
  readonly topic: string
  readonly group: string
}

export class Liveness {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #timeoutMs: number
  readonly #members = new Map<QueueMember, Of>()
  #timer: Disposable | undefined
  #dueMs = 0

  constructor(clock: Clock, logger: Logger, timeoutMs: number) {
    this.#clock = clock
    this.#logger = logger
    this.#timeoutMs = timeoutMs
  }

  add(member: QueueMember, of: Of): void {
    this.#members.set(member, of)
    if (this.#timer !== undefined && this.#clock.monotonic() + this.#timeoutMs >= this.#dueMs) return
    this.#timer?.[Symbol.dispose]()
    this.#arm()
  }

  remove(member: QueueMember): void {
    this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #arm(): void {
    const nowMs = this.#clock.monotonic()
    let nextMs = nowMs + watchMs
    for (const { seenMs } of this.#members.keys()) nextMs = Math.min(nextMs, seenMs + this.#timeoutMs)
    this.#dueMs = nextMs
    this.#timer = this.#clock.after(Math.max(0, nextMs - nowMs), this.#look)
  }

  readonly #look = (): void => {
    this.#timer = undefined
    const nowMs = this.#clock.monotonic()
    const lateMs = nowMs - this.#dueMs
    if (lateMs > lateMsMax) this.#stalled(nowMs, lateMs)
    for (const [member, of] of [...this.#members]) {
      if (nowMs - member.seenMs >= this.#timeoutMs) this.#evict(member, of, nowMs)
    }
    if (this.#members.size > 0 && this.#timer === undefined) this.#arm()
  }

  #stalled(nowMs: number, lateMs: number): void {
    this.#logger.warn(
      'this process stood still: a timer came late; members of queue groups are given time anew',
      { stalledMs: Math.round(lateMs), members: this.#members.size },
    )
    for (const member of this.#members.keys()) member.giveTime(nowMs)
  }

  #evict(member: QueueMember, { topic, group }: Of, nowMs: number): void {
    const silentMs = Math.round(nowMs - member.seenMs)
    this.#logger.warn(
      'a member of a queue group was silent for too long; what it had comes again elsewhere',
      {
        topic,
        group,
        member: member.name,
        silentMs,
      },
    )
    member.end(
      new RatatoskrError(
        'RTK_LEASE_LOST',
        `${member.name} gave no sign of life for ${silentMs} ms; members must within ${this.#timeoutMs} ms (memberTimeoutMs)`,
        { details: { silentMs } }, // tells it from one whose name another has taken: this one may join again
      ),
    )
  }
}
