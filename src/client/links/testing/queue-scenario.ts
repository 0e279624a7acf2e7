/**
 * One day in the life of a queue group: members join, settle in every way, are slow, leave and are cut off, while messages
 * come and the clock goes on. It writes down everything that its members see, so that what carries them can be compared.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { ManualClock } from '../../../../contract-tests/manual-clock.ts'
import type { LeasedSubscription, SettlementAction, Sharing } from '../../../ports/index.ts'
import type { Link } from '../../link.ts'
import { type LeasedText, Leases, only, publishTexts, type QueueRig, textsOf } from './queue-kit.ts'

/** What is noted, a line each. */
export type EventLog = readonly string[]

/** A member that is pushed to, and its part of the log. */
interface Worker {
  readonly name: string
  readonly leases: Leases
  readonly member: LeasedSubscription
  readonly link: Link
  /** Lines that are in the log already. */
  noted: number
}

/** Runs the scenario. @returns what was seen, in order */
export async function queueScenario(rig: QueueRig, clock: ManualClock, sharing: Sharing): Promise<EventLog> {
  const scenario = new Scenario(rig, clock, sharing, await rig.connect())
  await scenario.begin()
  await scenario.settleInEveryWay()
  await scenario.shareAndTimeOut()
  await scenario.giveUp()
  await scenario.pauseAndPart()
  await scenario.poll()
  return scenario.log
}

class Scenario {
  readonly log: string[] = []
  readonly #rig: QueueRig
  readonly #clock: ManualClock
  readonly #admin: Link
  readonly #config: object
  readonly #workers: Worker[] = []

  constructor(rig: QueueRig, clock: ManualClock, sharing: Sharing, admin: Link) {
    this.#rig = rig
    this.#clock = clock
    this.#admin = admin
    this.#config = {
      sharing,
      ackTimeoutMs: 1_000,
      retriesMax: 1,
      retry: { kind: 'fixed', delayMs: 500 },
    }
  }

  /** Messages are there before the first member is, who takes a few. */
  async begin(): Promise<void> {
    await this.#admin.createTopic('orders', { partitions: 2 })
    await this.#publish(['a1', 'b1', 'c1', 'a2', 'd1'], 0)
    await this.#publish(['e1', 'f1'], 1)
    await this.#join('one', 4)
    await this.#note('one joined')
  }

  async settleInEveryWay(): Promise<void> {
    const [one] = this.#workers
    const [first, second, third, fourth] = one.leases.messages
    await this.#settle(one, 'ack', first)
    await this.#settle(one, 'nack', second, { reason: 'not today' })
    await this.#settle(one, 'extend', third, { extendMs: 3_000 })
    await this.#settle(one, 'release', fourth)
    await this.#settle(one, 'ack', { ...third, lease: third.lease + 1_000 })
    one.member.grant({ messages: 2 })
    await this.#note('one settled')
    await this.#advance(499)
    await this.#note('one waits for the retry')
    await this.#advance(1)
    await this.#note('the retry is due')
  }

  async shareAndTimeOut(): Promise<void> {
    await this.#join('two', 10)
    await this.#note('two joined')
    await this.#advance(999)
    await this.#note('before the time is up')
    for (const worker of this.#workers) worker.member.heartbeat()
    await this.#advance(1_001)
    await this.#note('the time was up')
  }

  /** Everything that is held fails for good: it becomes dead letters. */
  async giveUp(): Promise<void> {
    for (const worker of this.#workers) worker.member.grant({ messages: 10 })
    await this.#advance(500)
    for (const worker of this.#workers) {
      const latest = new Map(
        worker.leases.messages.map((message) => [`${message.partition}:${message.offset}`, message]),
      )
      for (const message of latest.values()) await this.#settle(worker, 'terminate', message)
    }
    await this.#note('given up')
    this.log.push(`dead letters: ${(await this.#admin.topicExists('orders.dlq')) ? 'some' : 'none'}`)
  }

  async pauseAndPart(): Promise<void> {
    await this.#admin.pauseQueue('orders', 'work', true)
    await this.#publish(['g1', 'h1'], 0)
    await this.#note('paused')
    await this.#admin.pauseQueue('orders', 'work', false)
    await this.#note('goes on')
    const [one, two] = this.#workers
    await one.member.close()
    await this.#note('one left')
    await two.link.close()
    await this.#note('two was cut off')
  }

  /** What comes last is taken by a member that polls. */
  async poll(): Promise<void> {
    await this.#advance(2_000)
    await this.#publish(['i1', 'j1'], 0)
    const request = { group: 'work', member: 'three', config: this.#config, messagesMax: 100 }
    const taken = await this.#admin.take('orders', request)
    const messages = taken.batches.flatMap(textsOf)
    const byPlace = messages.map(({ text, attempt }) => `${text} #${attempt}`).toSorted()
    this.log.push(`three took ${byPlace.join(', ')}`)
    const settlements = messages.map((message) => ({ action: 'ack', ...only(message) }) as const)
    const results = await this.#admin.settle('orders', { group: 'work', member: 'three', settlements })
    this.log.push(`three acked ${results.map((error) => error?.code ?? 'ok').join(' ')}`)
    await this.#note('all is done')
  }

  async #join(name: string, messages: number): Promise<void> {
    const link = await this.#rig.connect()
    const leases = new Leases()
    const options = { group: 'work', member: name, config: this.#config, from: 'earliest' } as const
    const member = await link.consume('orders', { ...options, credit: { messages } }, leases)
    this.#workers.push({ name, leases, member, link, noted: 0 })
  }

  #publish(texts: readonly string[], partition: number): Promise<void> {
    return publishTexts(this.#admin, this.#rig.platform, texts, partition)
  }

  async #settle(
    worker: Worker,
    action: SettlementAction,
    message: LeasedText,
    more: object = {},
  ): Promise<void> {
    const [error] = await worker.member.settle([{ action, ...only(message), ...more }])
    this.log.push(`${worker.name} ${action} ${message.text}: ${error?.code ?? 'ok'}`)
  }

  /** In steps, so that what one timer starts is over before the next. */
  async #advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      await this.#clock.advance(Math.min(left, 100))
      await this.#quiet(4)
    }
  }

  /** Writes down what each member saw since, and how the group stands. */
  async #note(what: string): Promise<void> {
    await this.#quiet(20)
    this.log.push(`-- ${what}`)
    for (const worker of this.#workers) {
      const lines = worker.leases.log.slice(worker.noted)
      worker.noted = worker.leases.log.length
      this.log.push(...lines.map((line) => `${worker.name}: ${line}`))
    }
    const { state, lag, members, partitions } = await this.#admin.describeQueue('orders', 'work')
    const held = members.map(({ member, inFlight, partitions }) => `${member} ${inFlight} [${partitions}]`)
    const places = partitions.map(
      ({ ackedOffset, inFlight, delayed }) => `${ackedOffset}/${inFlight}/${delayed}`,
    )
    this.log.push(`${state} lag ${lag} members ${held.join(', ')} partitions ${places.join(' ')}`)
  }

  /** Round trips in which all that is on its way arrives. */
  async #quiet(rounds: number): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      await this.#admin.topicExists('orders')
      await turn()
    }
  }
}
