/** One producer of `ratatoskr bench`: publishes until it is stopped, as fast as it may or by a schedule. */
import type { Producer } from '../../client/producer.ts'
import { InFlight } from './in-flight.ts'
import { GrowingSamples, MessageMaker, nowMs, placesOfMaker } from './messages.ts'
import { dueTimes, pace, turn } from './pace.ts'

export interface SenderOptions {
  readonly topic: string
  readonly partition: number
  readonly payloadBytes: number
  /** One `publish` for each message, so many under way; without, messages are given in bulk. */
  readonly singleInFlight: number | undefined
  /** Messages a second; as many as are taken without. */
  readonly perSecond: number | undefined
  /** Messages that may be made; then it waits to be stopped. */
  readonly messagesMax: number
  /** How many messages the slowest consumer may be behind. */
  readonly lagMax: number
}

/** Messages between two looks at whether the sender is to stop, or to wait for consumers. */
const burst = 64
/** With many under way, one in so many publishes is timed. */
const publishesPerSample = 64

export class Sender {
  readonly #producer: Producer
  readonly #options: SenderOptions
  readonly #maker: MessageMaker
  readonly #acks = new GrowingSamples()
  readonly #inFlight: InFlight
  /** How many of its messages the slowest consumer has; what it made itself when there is none. */
  readonly #received: () => number
  readonly #running: Promise<void>
  readonly #stopped: () => boolean

  /** @param place which of the senders it is, from 0 */
  constructor(
    producer: Producer,
    place: number,
    options: SenderOptions,
    received: (() => number) | undefined,
    stopped: () => boolean,
  ) {
    this.#producer = producer
    this.#options = options
    this.#maker = new MessageMaker(options.payloadBytes, place * placesOfMaker)
    this.#received = received ?? (() => this.#maker.count)
    this.#inFlight = new InFlight(options.singleInFlight ?? 1)
    this.#stopped = () => stopped() || this.isSpent
    this.#running = options.singleInFlight === undefined ? this.#bulk() : this.#single()
    this.#running.catch(() => {}) // told to whoever waits for the end
  }

  /** Messages made so far. */
  get sent(): number {
    return this.#maker.count
  }

  /** Everything that it may make is made. */
  get isSpent(): boolean {
    return this.#maker.count >= this.#options.messagesMax
  }

  /** From when a publish was due, or made, until it was acknowledged, since `windowBegin`; of single messages only. */
  get acknowledgedMs(): Float64Array {
    return this.#acks.values
  }

  windowBegin(): void {
    this.#acks.clear()
  }

  /** Settles when it was stopped, or is spent, and everything is acknowledged. @throws when a message could not be published */
  get done(): Promise<void> {
    return this.#running
  }

  async #bulk(): Promise<void> {
    const { topic, perSecond } = this.#options
    if (perSecond !== undefined) {
      await this.#producer.addAll(topic, this.#dueMessages(perSecond))
      return
    }
    while (!this.#stopped()) {
      await this.#producer.addAll(topic, this.#messages())
      // Too far ahead: what the consumers have reached comes with a later turn of the event loop.
      await turn()
    }
  }

  *#messages() {
    const { partition } = this.#options
    const message = { payload: this.#maker.payload, partition }
    while (!this.#stopped() && !this.#isAhead) {
      for (let i = 0; i < burst; i++) {
        this.#maker.next()
        yield message
      }
    }
  }

  async *#dueMessages(perSecond: number) {
    const { partition } = this.#options
    const message = { payload: this.#maker.payload, partition }
    for await (const dueMs of dueTimes({ perSecond, nowMs, turn, stopped: this.#stopped })) {
      this.#maker.nextDue(dueMs)
      yield message
    }
  }

  async #single(): Promise<void> {
    const { perSecond, singleInFlight } = this.#options
    if (perSecond !== undefined) {
      const schedule = { perSecond, nowMs, turn, stopped: this.#stopped }
      await pace(schedule, (dueMs) => this.#timed(this.#maker.makeDue(dueMs), dueMs), this.#inFlight)
    } else {
      const timesAll = (singleInFlight as number) <= publishesPerSample
      while (!this.#stopped()) {
        if (this.#inFlight.isFull) await this.#inFlight.ready()
        else if (this.#isAhead) await turn()
        if (this.#isAhead) continue
        for (let i = 0; i < burst && !this.#inFlight.isFull; i++) {
          const isSample = timesAll || this.#maker.count % publishesPerSample === 0
          const payload = this.#maker.copyOfNext()
          if (isSample) this.#timed(payload, nowMs())
          else this.#inFlight.add(this.#publish(payload))
        }
      }
    }
    await this.#inFlight.flush()
  }

  #timed(payload: Uint8Array, sinceMs: number): void {
    const stored = this.#publish(payload)
    this.#inFlight.add(stored)
    stored.then(
      () => this.#acks.add(nowMs() - sinceMs),
      () => {}, // told by whoever counts what is under way
    )
  }

  #publish(payload: Uint8Array): Promise<unknown> {
    const { topic, partition } = this.#options
    return this.#producer.publish(topic, payload, { partition })
  }

  get #isAhead(): boolean {
    return this.#maker.count - this.#received() >= this.#options.lagMax
  }
}
