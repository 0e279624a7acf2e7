/** What members do with messages: they take their time, publish what comes of it, and acknowledge or fail as planned. */
import { type ClientMessage, isRatatoskrError } from 'ratatoskr/client'
import type { ProcessClock } from 'ratatoskr/contract-tests'
import type { ErrorCode, LeaseProof } from 'ratatoskr/ports'
import type { DeliveryFact, Ledger } from './ledger.ts'
import { outTopic } from './names.ts'
import type { Behaviour, MemberPlan, Plan } from './plan.ts'

/** A message in somebody's hands, however it came there. */
export interface Handed
  extends Pick<
    ClientMessage,
    | 'partition'
    | 'offset'
    | 'lease'
    | 'attempt'
    | 'redelivered'
    | 'signal'
    | 'text'
    | 'keyText'
    | 'ack'
    | 'nack'
    | 'terminate'
    | 'release'
    | 'leaseProof'
  > {
  /** True for one that was taken by polling: nobody keeps its lease up, or tells that it is lost. */
  readonly polled?: boolean
}

export interface HandlingParts {
  readonly plan: Plan
  readonly ledger: Ledger
  readonly client: number
  readonly process: ProcessClock
  /** Publishes with a lease. */
  readonly publish: (
    topic: string,
    text: string,
    options: { readonly lease: LeaseProof | undefined },
  ) => Promise<{ readonly offset: number }>
}

export const codeOf = (error: unknown): ErrorCode => (isRatatoskrError(error) ? error.code : 'RTK_INTERNAL')

export const sleep = (process: ProcessClock, ms: number): Promise<void> =>
  new Promise((resolve) => {
    process.after(ms, resolve)
  })

/** Of one life of a client. */
export class Handling {
  readonly #parts: HandlingParts

  constructor(parts: HandlingParts) {
    this.#parts = parts
  }

  /** What a member does with a message. @throws Error when it fails with a throw */
  async handle(message: Handed, { group }: MemberPlan, member: string): Promise<void> {
    const { ledger } = this.#parts
    const n = Number(message.text())
    const behaviour = this.#behaviourOf(n, group)
    const { partition, offset, lease, attempt, redelivered } = message
    const at = ledger.note(
      `${member} handles ${group} ${partition}:${offset} #${n} l${lease} a${attempt} ${redelivered}`,
    )
    const fact: DeliveryFact = {
      group,
      n,
      partition,
      offset,
      key: message.keyText(),
      lease,
      attempt,
      redelivered,
      client: this.#parts.client,
      member,
      polled: message.polled === true,
      startMs: ledger.nowMs,
      at,
    }
    ledger.deliveries.push(fact)
    message.signal.addEventListener('abort', () => {
      fact.lostMs ??= ledger.nowMs
      ledger.note(`${member} lost ${group} ${partition}:${offset}`)
    })
    // Whoever takes at most once is done when he has it.
    if (lease === 0) Object.assign(fact, { end: 'ack', endMs: fact.startMs, endAt: at })
    await sleep(this.#parts.process, behaviour.takesMs)
    if (lease === 0) return
    if (behaviour.publishes) await this.#output(message, fact)
    this.#finish(message, fact, behaviour)
  }

  #behaviourOf(n: number, group: number): Behaviour {
    return this.#parts.plan.messages[n]?.behaviours[group] ?? easy
  }

  /** The work of a handler is a publish that counts only while the lease is held. */
  async #output(message: Handed, of: DeliveryFact): Promise<void> {
    const output: Ledger['outputs'][number] = { of }
    this.#parts.ledger.outputs.push(output)
    const text = `${of.group} ${of.partition} ${of.offset} ${of.lease}`
    try {
      const receipt = await this.#parts.publish(outTopic, text, { lease: message.leaseProof })
      output.outcome = 'stored'
      output.offset = receipt.offset
    } catch (error) {
      output.outcome = codeOf(error)
    }
    this.#parts.ledger.note(`output ${text} ${output.outcome}`)
  }

  #finish(message: Handed, fact: DeliveryFact, behaviour: Behaviour): void {
    const { fails, how, nackDelayMs, asks } = behaviour
    const failing = message.attempt <= fails
    const releases = how === 'release' && fact.attempt === 1 && !this.#released(fact)
    fact.end = !failing
      ? 'ack'
      : how === 'throw'
        ? 'nack'
        : how === 'release'
          ? releases
            ? 'release'
            : 'ack'
          : how
    fact.endMs = this.#parts.ledger.nowMs
    fact.endAt = this.#parts.ledger.note(
      `${fact.member} ${fact.end} ${fact.group} ${fact.partition}:${fact.offset}`,
    )
    if (fact.end === 'nack') {
      fact.againMs = fact.endMs + (how === 'nack' ? nackDelayMs : this.#retryMs(fact))
    }
    if (fact.end === 'nack' && how === 'throw') {
      if (asks) this.#ask(message.nack({ reason: 'failed' }), fact)
      throw new Error('failed')
    }
    if (fact.end === 'ack' && !asks) return
    const answer =
      fact.end === 'ack'
        ? message.ack()
        : fact.end === 'nack'
          ? message.nack({ delayMs: nackDelayMs, reason: 'later' })
          : fact.end === 'terminate'
            ? message.terminate('hopeless')
            : message.release()
    this.#ask(answer, fact)
  }

  /** A message is given back once: otherwise it would come and go without end. */
  #released(fact: DeliveryFact): boolean {
    return this.#parts.ledger.deliveries.some(
      ({ group, partition, offset, end }) =>
        end === 'release' && group === fact.group && partition === fact.partition && offset === fact.offset,
    )
  }

  #retryMs({ group, attempt }: DeliveryFact): number {
    const { retry } = this.#parts.plan.groups[group]
    return retry.kind === 'fixed'
      ? retry.delayMs
      : retry.delaysMs[Math.min(attempt, retry.delaysMs.length) - 1]
  }

  #ask(answer: Promise<void>, fact: DeliveryFact): void {
    const answered = (outcome: DeliveryFact['answer']): void => {
      if (this.#parts.ledger.gone.has(fact.member.slice(0, fact.member.indexOf('/')))) return
      fact.answer = outcome
      fact.answerMs = this.#parts.ledger.nowMs
      this.#parts.ledger.note(
        `${fact.member} answer ${fact.group} ${fact.partition}:${fact.offset} ${outcome}`,
      )
    }
    answer.then(
      () => answered('done'),
      (error: unknown) => answered(codeOf(error)),
    )
  }
}

const easy: Behaviour = {
  takesMs: 1,
  fails: 0,
  how: 'throw',
  nackDelayMs: 0,
  asks: true,
  publishes: false,
}
