/** The broker, the transport and the connections of one case. */
import type { BrokerOptions, EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import type { BoundAddress, DroppedMessages, Message, RatatoskrError, Transport } from 'ratatoskr/ports'
import { utf8, utf8Text } from 'ratatoskr/ports'
import { type ContractContext, within } from '../suite.ts'
import { startTestBroker } from '../testing/start-test-broker.ts'
import type { ProbeSubscribeOptions, ProbeSubscription, TransportProbe } from './probe.ts'

/** Where a transport under test is to listen. */
export interface TransportMakeOptions {
  readonly host?: string
  readonly port: number
  readonly insecure?: boolean
  /** Where another transport listens whose port this is: what has no ports is to listen there as well. */
  readonly taken?: BoundAddress
}

/** What the author of a transport gives. */
export interface TransportSetup {
  make(options: TransportMakeOptions): Transport
  /** Connects a client. @throws RTK_UNAUTHENTICATED, RTK_DISCONNECTED when nobody listens */
  connect(address: BoundAddress, token?: string): Promise<TransportProbe>
  /**
   * Opens raw connections that send what the protocol forbids: noise, torn and oversized frames. Resolves when the other
   * side has answered or hung up.
   */
  sendGarbage(address: BoundAddress): Promise<void>
  teardown?(): Promise<void>
}

/** What the broker of a case is made of. */
export interface CaseBrokerOptions extends Partial<BrokerOptions> {
  /** Where it is to keep its data on disk: what several storages share, as a broker of workers does, has a folder for each there. */
  readonly directory?: string
}

/** What a case works with. */
export class TransportContext implements ContractContext {
  readonly setup: TransportSetup
  readonly #closers: (() => Promise<unknown>)[] = []

  constructor(setup: TransportSetup) {
    this.setup = setup
  }

  /** A running broker with the transport under test, and a way to connect to it. */
  async broker({ directory, ...options }: CaseBrokerOptions = {}): Promise<RunningBroker> {
    const transport = this.setup.make({ port: 0 })
    const stored = directory === undefined ? {} : { storage: diskStorage({ directory }) }
    const broker = await startTestBroker({ transports: [transport], ...stored, ...options })
    this.#closers.unshift(() => broker.stop())
    return {
      broker,
      transport,
      connect: async (token) => {
        const probe = await this.setup.connect(transport.address as BoundAddress, token)
        this.#closers.unshift(() => probe.close())
        return probe
      },
    }
  }

  /** Undoes at the end of the case what the case did by itself. */
  defer(close: () => Promise<unknown>): void {
    this.#closers.unshift(close)
  }

  async teardown(): Promise<void> {
    for (const close of this.#closers) await within(close(), 10_000, 'teardown').catch(() => undefined)
    await this.setup.teardown?.()
  }
}

export interface RunningBroker {
  readonly broker: EmbeddedBroker
  readonly transport: Transport
  connect(token?: string): Promise<TransportProbe>
}

/** A log that nobody reads. */
export const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }

/** Collects what a subscription is given, and waits for it. */
export class Collector {
  readonly messages: Message[] = []
  readonly drops: DroppedMessages[] = []
  readonly end: Promise<RatatoskrError | undefined>
  ended = false
  readonly subscription: Promise<ProbeSubscription>
  #changed = () => {}

  constructor(
    probe: TransportProbe,
    topic: string,
    options: Partial<ProbeSubscribeOptions> = {},
    hold?: (message: Message) => Promise<void>,
  ) {
    let end: (reason: RatatoskrError | undefined) => void
    this.end = new Promise((resolve) => {
      end = resolve
    })
    this.subscription = probe.subscribe(
      topic,
      { credit: 1_000_000, ...options },
      {
        deliver: (message) => {
          this.messages.push(message)
          this.#changed()
          return hold?.(message)
        },
        dropped: (messages) => {
          this.drops.push(messages)
        },
        ended: (reason) => {
          this.ended = true
          end(reason)
          this.#changed()
        },
      },
    )
    this.subscription.catch(() => undefined)
  }

  /** Waits until so many messages are here. */
  async atLeast(count: number, timeoutMs = 5_000): Promise<readonly Message[]> {
    const enough = async () => {
      while (this.messages.length < count) {
        await new Promise<void>((resolve) => {
          this.#changed = resolve
        })
        if (this.ended && this.messages.length < count)
          throw new Error(`ended after ${this.messages.length} of ${count} messages`)
      }
      return this.messages
    }
    return within(enough(), timeoutMs, `${count} messages (got ${this.messages.length})`)
  }

  get texts(): string[] {
    return this.messages.map((message) => utf8Text(message.payload))
  }
}

/** A message of a text. */
export const textMessage = (text: string, more: object = {}) => ({ payload: utf8(text), ...more })

/** Texts `m0`, `m1`, … */
export const texts = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, i) => `m${from + i}`)

/** A moment in which anything that is wrongly on its way would arrive: several round trips on the same connection. */
export async function settle(probe: TransportProbe, topic: string): Promise<void> {
  for (let i = 0; i < 5; i++) await probe.topicStats(topic)
}
