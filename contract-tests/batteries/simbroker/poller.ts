/** A member that polls: takes messages, handles one after the other, and settles each by its lease. */
import type { Client, TakenBatch } from 'ratatoskr/client'
import type { ProcessClock } from 'ratatoskr/contract-tests'
import { type LeaseProof, type Message, type Settlement, utf8Text } from 'ratatoskr/ports'
import { codeOf, type Handed, type Handling, sleep } from './handling.ts'
import type { Ledger } from './ledger.ts'
import { workTopic } from './names.ts'
import type { MemberPlan } from './plan.ts'

export interface PollerParts {
  readonly client: Client
  readonly process: ProcessClock
  readonly handling: Handling
  readonly member: MemberPlan
  readonly group: string
  readonly who: string
  readonly name: string | undefined
}

const waitMs = 500
/** A lease that is over so soon is not begun with: the broker's clock began earlier. */
const leaseMsMin = 50

export class Poller {
  readonly #parts: PollerParts
  #leaving = false

  constructor(parts: PollerParts) {
    this.#parts = parts
  }

  /** Polls until it leaves. @returns why it ended; undefined when it left */
  async run(memberTimeoutMs: number, ledger: Ledger): Promise<string | undefined> {
    const { client, process, member, group, name } = this.#parts
    const messagesMax = Math.min(member.maxInFlight, 20)
    const bytesMax = member.prefetchBytes
    if (name !== undefined) this.#beat(name, Math.floor(memberTimeoutMs / 3))
    while (!this.#leaving && !process.killed) {
      try {
        const taken = await client.take(workTopic, group, { member: name, messagesMax, bytesMax, waitMs })
        const untilMs = taken.batches.map(({ leaseMs }) => process.monotonic() + leaseMs)
        const count = taken.batches.reduce((sum, { recordCount }) => sum + recordCount, 0)
        const bytes = taken.batches.reduce((sum, batch) => sum + batch.bytes.length, 0)
        if (count > messagesMax || (bytesMax !== undefined && bytes > bytesMax && count > 1)) {
          ledger.wrong.push(
            `${group} gave a poller ${count} messages, ${bytes} bytes: more than it asked for`,
          )
        }
        const gone = new Set<string>()
        for (const [place, batch] of taken.batches.entries()) await this.#handle(batch, untilMs[place], gone)
      } catch (error) {
        ledger.note(`${this.#parts.who} cannot take: ${codeOf(error)}`)
        await sleep(process, 300)
      }
    }
    return undefined
  }

  /** Some only stop asking, and are missed in time. Without a name there is nothing to leave: each call was a member of its own. */
  async close(): Promise<void> {
    this.#leaving = true
    const { client, group, name, member } = this.#parts
    if (name !== undefined && member.concurrency > 2) await client.leaveQueue(workTopic, group, name)
  }

  #beat(name: string, everyMs: number): void {
    const { process, client, group } = this.#parts
    process.after(everyMs, () => {
      if (this.#leaving) return
      void client.heartbeat(workTopic, group, name).catch(() => {})
      this.#beat(name, everyMs)
    })
  }

  /** @param gone keys that something of what was taken was given back of: the leases on the later ones have ended */
  async #handle(batch: TakenBatch, untilMs: number, gone: Set<string>): Promise<void> {
    const { process, handling, member, who } = this.#parts
    for (const message of batch.messages()) {
      if (this.#leaving || process.monotonic() + leaseMsMin >= untilMs) return
      const polled = new PolledMessage(this.#parts, batch, message)
      const key = polled.keyText()
      if (key !== undefined && gone.has(key)) continue
      await handling
        .handle(polled, member, who)
        .then(
          () => polled.ack(),
          (reason: unknown) => polled.nack({ reason }),
        )
        .catch(() => {})
      if (key !== undefined && polled.end !== 'ack') gone.add(key)
    }
  }
}

class PolledMessage implements Handed {
  readonly polled = true
  readonly partition: number
  readonly offset: number
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
  /** Nobody tells a member that polls what it has lost. */
  readonly signal = new AbortController().signal
  end: Settlement['action'] | undefined
  readonly #parts: PollerParts
  readonly #message: Message
  #answer: Promise<void> | undefined

  constructor(parts: PollerParts, { lease, attempt, redelivered, partition }: TakenBatch, message: Message) {
    this.#parts = parts
    this.#message = message
    this.partition = partition
    this.offset = message.offset
    this.lease = lease
    this.attempt = attempt
    this.redelivered = redelivered
  }

  get leaseProof(): LeaseProof {
    const { partition, offset, lease } = this
    return { topic: workTopic, group: this.#parts.group, partition, offset, lease }
  }

  text(): string {
    return utf8Text(this.#message.payload)
  }

  keyText(): string | undefined {
    const { key } = this.#message
    return key === undefined ? undefined : utf8Text(key)
  }

  ack(): Promise<void> {
    return this.#settle({ action: 'ack' })
  }

  nack({
    delayMs,
  }: {
    readonly delayMs?: number | undefined
    readonly reason?: unknown
  } = {}): Promise<void> {
    return this.#settle({ action: 'nack', delayMs })
  }

  terminate(): Promise<void> {
    return this.#settle({ action: 'terminate' })
  }

  release(): Promise<void> {
    return this.#settle({ action: 'release' })
  }

  /** Once: what is settled stays so. @throws why the broker refused it */
  #settle(how: Pick<Settlement, 'action' | 'delayMs'>): Promise<void> {
    this.end ??= how.action
    this.#answer ??= this.#ask(how)
    return this.#answer
  }

  async #ask(how: Pick<Settlement, 'action' | 'delayMs'>): Promise<void> {
    const { client, group, name } = this.#parts
    const { partition, lease, offset } = this
    const settlement = { partition, lease, from: offset, to: offset + 1, ...how }
    const [error] = await client.settle(workTopic, group, [settlement], { member: name })
    if (error !== undefined) throw error
  }
}
