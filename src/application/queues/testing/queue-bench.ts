/** Queue groups on a whole broker with doubles for its stores and a clock that stands still. */
import type {
  ConsumeOptions,
  Durability,
  Limits,
  OutgoingMessage,
  QueueConfig,
  Session,
} from '../../../ports/index.ts'
import { utf8 } from '../../../ports/index.ts'
import type { BrokerSettings } from '../../broker-options.ts'
import { BrokerBench } from '../../testing/broker-bench.ts'
import { QueueSink } from './queue-sink.ts'

export interface QueueBenchOptions {
  readonly partitions?: number
  readonly limits?: Partial<Limits>
  readonly settings?: Partial<BrokerSettings>
  readonly durability?: readonly Durability[]
}

/** Members that tests forget have no trouble with their signs of life. */
const longTimeout = { memberTimeoutMs: 1_000_000_000 }

export class QueueBench {
  readonly bench: BrokerBench
  session!: Session
  readonly #partitions: number

  constructor({ partitions = 1, limits, settings, durability }: QueueBenchOptions = {}) {
    this.bench = new BrokerBench({ limits: { ...longTimeout, ...limits }, settings, durability })
    this.#partitions = partitions
  }

  static async start(options: QueueBenchOptions = {}): Promise<QueueBench> {
    const made = new QueueBench(options)
    made.session = await made.bench.start()
    await made.session.createTopic('orders', { partitions: made.#partitions })
    return made
  }

  /** Publishes messages as one batch each, or as one batch of all of them. */
  async publish(count: number, fields: Partial<OutgoingMessage> = {}): Promise<void> {
    const messages = Array.from({ length: count }, (_, i) => ({ payload: utf8(`m${i}`), ...fields }))
    await this.#settled(this.session.publishMany('orders', messages))
  }

  /** Publishes one message for each key, in order, in one batch. */
  async publishKeys(...keys: string[]): Promise<void> {
    const messages = keys.map((key) => ({ payload: utf8(key), key: utf8(key), partition: 0 }))
    await this.#settled(this.session.publishMany('orders', messages))
  }

  async join(
    options: Partial<ConsumeOptions> & { readonly config?: Partial<QueueConfig> } = {},
    sink = new QueueSink(),
  ): Promise<QueueSink> {
    const joining = sink.join(this.session, 'orders', { group: 'g', credit: { messages: 1_000 }, ...options })
    await this.#settled(joining)
    await this.pass(0)
    return sink
  }

  /** Lets time pass. */
  pass(ms: number): Promise<void> {
    return this.bench.clock.advance(ms)
  }

  /** The process stands still for as long: time passes, and nothing is done. */
  stall(ms: number): void {
    this.bench.clock.stall(ms)
  }

  describe() {
    return this.session.describeQueue('orders', 'g')
  }

  /** Lets the broker end as planned, and another begin on the same stores. */
  async restart(): Promise<void> {
    await this.#settled(this.bench.broker.stop())
    await this.#begin()
  }

  /** The broker's process ends at once: nothing is stored any more. */
  async crash(): Promise<void> {
    const { state } = this.bench
    state.onChange = () => {
      throw new Error('the process is gone')
    }
    await this.#settled(this.bench.broker.stop().catch(() => {}))
    state.onChange = () => {}
    await this.#begin()
  }

  async #begin(): Promise<void> {
    this.bench.broker = this.bench.makeBroker()
    this.session = await this.#settled(this.bench.start())
  }

  async #settled<T>(promise: Promise<T>): Promise<T> {
    let done = false
    const end = promise.finally(() => {
      done = true
    })
    end.catch(() => {})
    for (let i = 0; i < 100 && !done; i++) await this.pass(0)
    return await end
  }
}
