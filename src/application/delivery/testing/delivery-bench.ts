/** Delivery on a topic double and a manual clock, with sinks that remember what they were told. */
import { ManualClock } from '../../../../contract-tests/manual-clock.ts'
import {
  type BatchDelivery,
  type BatchSink,
  type CommittedOffset,
  type CompressionCodecs,
  type DroppedMessages,
  type Limits,
  type Message,
  type MessageSink,
  makeLimits,
  type PartitionOffset,
  type Platform,
  RatatoskrError,
  type SubscribeOptions,
  type Subscription,
  utf8Text,
} from '../../../ports/index.ts'
import type { Delivery, Subscriber } from '../../seams.ts'
import { HooksDouble } from '../../testing/hooks-double.ts'
import { StateStoreDouble } from '../../testing/state-store-double.ts'
import { createDelivery } from '../index.ts'
import { batchOf, TopicDouble } from './topic-double.ts'

export const someone: Subscriber = {
  sessionId: 'session-1',
  principal: { name: 'someone', namespace: 'default' },
  remote: false,
}

export interface DeliveryBenchOptions {
  readonly partitions?: number
  readonly limits?: Partial<Limits>
  readonly codecs?: CompressionCodecs
}

export class DeliveryBench {
  readonly clock = new ManualClock()
  readonly hooks = new HooksDouble()
  readonly state = new StateStoreDouble()
  readonly limits: Limits
  readonly topic: TopicDouble
  readonly warnings: { readonly message: string; readonly fields: unknown }[] = []
  readonly errors: { readonly message: string; readonly fields: unknown }[] = []
  readonly platform: Platform
  delivery: Delivery

  constructor({ partitions = 1, limits, codecs = new Map() }: DeliveryBenchOptions = {}) {
    this.limits = makeLimits(limits)
    this.topic = new TopicDouble(partitions)
    this.platform = this.#makePlatform(codecs)
    this.state.started = true
    this.delivery = this.#makeDelivery()
  }

  /** Publishes `count` messages in one batch. */
  publish(count = 1, partition = 0, text: string | ((place: number) => string) = 'x'): void {
    this.topic.partitions[partition].publish(batchOf(count, text))
  }

  async subscribe(
    options: SubscribeOptions = {},
    sink = new SinkDouble(),
    who = someone,
  ): Promise<SinkDouble> {
    sink.subscription = await this.delivery.subscribe(this.topic, options, sink, who)
    return sink
  }

  async subscribeMessages(
    options: SubscribeOptions = {},
    sink = new MessageSinkDouble(),
  ): Promise<MessageSinkDouble> {
    sink.subscription = await this.delivery.subscribeMessages(this.topic, options, sink, someone)
    return sink
  }

  /** A member with credit to spare. */
  member(name: string, group = 'billing'): Promise<SinkDouble> {
    return this.subscribe({ group, member: name, credit: plenty })
  }

  /** Lets everything happen that waits for no timer. */
  settle(): Promise<void> {
    return this.clock.advance(0)
  }

  /** The broker's process ends, and another begins on the same stores. */
  async restart(): Promise<void> {
    await this.delivery.stop(new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping'))
    this.delivery = this.#makeDelivery()
    await this.delivery.load()
    await this.delivery.start()
  }

  #makeDelivery(): Delivery {
    const { platform, limits, hooks, state } = this
    return createDelivery({ platform, limits, hooks, stateStore: state })
  }

  #makePlatform(compression: CompressionCodecs): Platform {
    const ignore = (): void => {}
    const warn = (message: string, fields?: unknown): void => void this.warnings.push({ message, fields })
    const error = (message: string, fields?: unknown): void => void this.errors.push({ message, fields })
    const logger = { debug: ignore, info: ignore, warn, error, child: () => logger }
    let ids = 0
    return {
      clock: this.clock,
      logger,
      checksum: () => 0,
      compression,
      random: {
        fill: (bytes) => bytes,
        next: () => 0.5,
        uuid: () => `${String(++ids).padStart(8, '0')}-0000-4000-8000-000000000000`,
      },
    }
  }
}

/** More credit than any test uses up. */
export const plenty = { bytes: 60_000_000, messages: 1_000_000 }

abstract class EventsDouble {
  readonly assignments: (readonly PartitionOffset[])[] = []
  readonly ends: (RatatoskrError | undefined)[] = []
  /** `partition:from-to` of each drop that it was told of. */
  readonly drops: string[] = []
  subscription!: Subscription
  onAssigned: () => void = () => {}
  onDropped: () => void = () => {}

  assigned(partitions: readonly PartitionOffset[]): void {
    this.assignments.push(partitions)
    this.onAssigned()
  }

  dropped({ partition, fromOffset, toOffset }: DroppedMessages): void {
    this.drops.push(`${partition}:${fromOffset}-${toOffset}`)
    this.onDropped()
  }

  ended(reason: RatatoskrError | undefined): void {
    this.ends.push(reason)
  }

  /** Partitions of the last assignment. */
  get owned(): number[] {
    return (this.assignments.at(-1) ?? []).map(({ partition }) => partition)
  }

  /** Codes of the ends that it was told of. */
  get endCodes(): (string | undefined)[] {
    return this.ends.map((reason) => reason?.code)
  }

  commit(...offsets: CommittedOffset[]): Promise<void> {
    return this.subscription.commit(offsets)
  }
}

export class SinkDouble extends EventsDouble implements BatchSink {
  readonly deliveries: BatchDelivery[] = []
  onDeliver: (delivery: BatchDelivery) => void | Promise<void> = () => {}

  deliver(delivery: BatchDelivery): void | Promise<void> {
    this.deliveries.push(delivery)
    return this.onDeliver(delivery)
  }

  /** `partition:from-next` of each delivery. */
  get ranges(): string[] {
    return this.deliveries.map((one) => `${one.partition}:${one.fromOffset}-${one.nextOffset}`)
  }

  get bytes(): number {
    return this.deliveries.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  /** Offsets of the messages that came from a partition, in the order in which they came. */
  offsetsOf(partition: number): number[] {
    const offsets: number[] = []
    for (const one of this.deliveries) {
      if (one.partition !== partition) continue
      for (let offset = one.fromOffset; offset < one.nextOffset; offset++) offsets.push(offset)
    }
    return offsets
  }
}

export class MessageSinkDouble extends EventsDouble implements MessageSink {
  readonly messages: Message[] = []
  onDeliver: (message: Message) => void | Promise<void> = () => {}

  deliver(message: Message): void | Promise<void> {
    this.messages.push(message)
    return this.onDeliver(message)
  }

  get offsets(): number[] {
    return this.messages.map(({ offset }) => offset)
  }

  get texts(): string[] {
    return this.messages.map(({ payload }) => utf8Text(payload))
  }
}

/** A promise that a test settles when it wants to. */
export const gate = (): PromiseWithResolvers<void> => Promise.withResolvers<void>()

/** Whole numbers from `from` up to but not including `to`. */
export const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i)
