/** Links of every kind on one broker, and a sink that keeps what a queue group gives it, for the tests of links. */
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { onTestFinished } from 'vitest'
import { startTestBroker } from '../../../../contract-tests/testing/start-test-broker.ts'
import type { BrokerOptions } from '../../../composition/broker-options.ts'
import type { EmbeddedBroker } from '../../../composition/embedded-broker.ts'
import {
  BatchBuilder,
  type LeasedBatch,
  type LeaseLossReason,
  type LeaseRange,
  type LeaseSink,
  type MaybePromise,
  messagesOf,
  type Platform,
  type RatatoskrError,
  type Transport,
  utf8,
  utf8Text,
} from '../../../ports/index.ts'
import { embeddedLink } from '../../embedded.ts'
import type { Link, OpenLink } from '../../link.ts'
import { openGrpcLink } from '../grpc.ts'
import { openHttpLink } from '../http.ts'
import { openTcpLink } from '../tcp.ts'
import { openWebSocketLink } from '../websocket-node.ts'

/** What a test of queue groups works with. */
export interface QueueRig {
  readonly broker: EmbeddedBroker
  readonly platform: Platform
  /** Opens another link of the kind. */
  connect(): Promise<Link>
}

interface RigOptions extends Pick<BrokerOptions, 'limits' | 'security'> {
  readonly platform?: Partial<Platform>
}

type StartRig = (options?: RigOptions) => Promise<QueueRig>

async function start(
  transports: readonly Transport[],
  open: OpenLink | undefined,
  options: RigOptions,
): Promise<QueueRig> {
  const platform = nodePlatform({ logger: silentLogger, ...options.platform })
  const broker = await startTestBroker({ ...options, transports, platform })
  onTestFinished(() => broker.stop())
  return {
    broker,
    platform,
    async connect() {
      const link = await (open === undefined ? embedded(broker) : remote(broker, open, platform))
      onTestFinished(() => link.close())
      return link
    },
  }
}

const embedded = async (broker: EmbeddedBroker): Promise<Link> => {
  const peer = { transport: 'embedded', address: '', local: true, encrypted: false }
  const session = await broker.facade.connect(peer, { kind: 'none' })
  return embeddedLink(session, new Promise(() => {}), broker.platform.clock)
}

const remote = (broker: EmbeddedBroker, open: OpenLink, platform: Platform): Promise<Link> =>
  open(new URL(broker.addresses[0].url), {
    credentials: { kind: 'none' },
    platform,
    frameBytesMax: 64 * 1024 * 1024,
  })

/** Every kind of link, and a rig of it. */
export const queueRigs: readonly (readonly [name: string, start: StartRig])[] = [
  ['embedded', (options = {}) => start([], undefined, options)],
  ['gRPC', (options = {}) => start([grpcTransport({ port: 0 })], openGrpcLink, options)],
  ['WebSocket', (options = {}) => start([webSocketTransport({ port: 0 })], openWebSocketLink, options)],
  ['HTTP', (options = {}) => start([httpTransport({ port: 0 })], openHttpLink, options)],
  ['TCP', (options = {}) => start([tcpTransport({ port: 0 })], openTcpLink, options)],
]

/** A message as a test sees it. */
export interface LeasedText {
  readonly text: string
  readonly partition: number
  readonly offset: number
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
}

/** A sink that keeps what it is told. */
export class Leases implements LeaseSink {
  readonly batches: LeasedBatch[] = []
  readonly messages: LeasedText[] = []
  /** Everything, in order, one line each. */
  readonly log: string[] = []
  readonly end = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #hold: (() => MaybePromise<void>) | undefined
  #wake: (() => void)[] = []

  /** @param hold what `deliver` returns */
  constructor(hold?: () => MaybePromise<void>) {
    this.#hold = hold
  }

  deliver(batch: LeasedBatch): MaybePromise<void> {
    this.batches.push(batch)
    for (const message of textsOf(batch)) {
      this.messages.push(message)
      const again = message.redelivered ? ' redelivered' : ''
      this.log.push(`${message.partition}:${message.offset} ${message.text} #${message.attempt}${again}`)
    }
    this.#changed()
    return this.#hold?.()
  }

  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    for (const { partition, from, to } of ranges) this.log.push(`lost ${partition}:${from}-${to} ${reason}`)
    this.#changed()
  }

  assigned(partitions: readonly number[]): void {
    this.log.push(`assigned ${partitions.join(' ')}`)
    this.#changed()
  }

  ended(reason: RatatoskrError | undefined): void {
    this.log.push(`ended ${reason?.code ?? ''}`.trim())
    this.end.resolve(reason)
    this.#changed()
  }

  get texts(): string[] {
    return this.messages.map(({ text }) => text)
  }

  /** Resolves when `enough` is true of this sink. */
  async until(enough: (leases: this) => boolean): Promise<void> {
    while (!enough(this)) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  /** Resolves when there are so many messages. */
  count(messages: number): Promise<void> {
    return this.until((leases) => leases.messages.length >= messages)
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

const expansion = { codecs: nodePlatform().compression, bytesMax: 64 * 1024 * 1024 }

/** The messages of a leased batch. */
export const textsOf = ({ bytes, partition, lease, attempt, redelivered }: LeasedBatch): LeasedText[] =>
  Array.from(messagesOf(bytes, { topic: '', topicId: '', partition, expansion }), ({ payload, offset }) => ({
    text: utf8Text(payload),
    partition,
    offset,
    lease,
    attempt,
    redelivered,
  }))

/** Publishes texts, each in a batch of its own. A text such as `a1` has the key `a`. */
export async function publishTexts(
  link: Link,
  { checksum }: Pick<Platform, 'checksum'>,
  texts: readonly string[],
  partition = 0,
): Promise<void> {
  for (const text of texts) {
    const builder = new BatchBuilder({ checksum })
    builder.add({ payload: utf8(text), key: utf8(text.slice(0, 1)), timestampMs: 1 })
    await link.publishBatch('orders', partition, builder.build())
  }
}

/** Names one message for its settlement. */
export const only = ({ partition, lease, offset }: LeasedText) => ({
  partition,
  lease,
  from: offset,
  to: offset + 1,
})
