/** Links on a broker in memory, and a sink that keeps what it is told, for the tests of links. */
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { onTestFinished } from 'vitest'
import { type RigOptions, startRig } from '../../../../adapters/websocket/testing/rig.ts'
import {
  BatchBuilder,
  type BatchDelivery,
  type BatchSink,
  type Credentials,
  type Message,
  messagesOf,
  type PartitionOffset,
  type Platform,
  type RatatoskrError,
} from '../../../ports/index.ts'
import type { Link, OpenLink } from '../../link.ts'

export const platform = nodePlatform({ logger: silentLogger })
const expansion = { codecs: platform.compression, bytesMax: 64 * 1024 * 1024 }
export const source = { topic: 'orders', topicId: '', partition: 0, expansion }

interface OpenOptions {
  readonly credentials?: Credentials
  readonly platform?: Platform
  readonly signal?: AbortSignal
}

export async function openLink(open: OpenLink, url: string, options: OpenOptions = {}): Promise<Link> {
  const link = await open(new URL(url), {
    credentials: { kind: 'none' },
    platform,
    frameBytesMax: 64 * 1024 * 1024,
    ...options,
  })
  onTestFinished(() => link.close())
  return link
}

export function batchOf(texts: readonly string[], codec?: number): Uint8Array {
  const compression = codec === undefined ? undefined : platform.compression.get(codec)
  const builder = new BatchBuilder({ checksum: platform.checksum, compression })
  for (const text of texts) builder.add({ payload: new TextEncoder().encode(text), timestampMs: 1 })
  return builder.build()
}

/** A sink that keeps what it is told. */
export class Kept implements BatchSink {
  readonly events: string[] = []
  readonly messages: Message[] = []
  readonly deliveries: BatchDelivery[] = []
  readonly end = Promise.withResolvers<RatatoskrError | undefined>()
  #wake: (() => void) | undefined

  assigned(partitions: readonly PartitionOffset[]): void {
    this.events.push(
      `assigned ${partitions.map(({ partition, offset }) => `${partition}:${offset}`).join(' ')}`,
    )
    this.#wake?.()
  }

  deliver(delivery: BatchDelivery): void | Promise<void> {
    this.deliveries.push(delivery)
    for (const message of messagesOf(delivery.bytes, source, delivery.fromOffset)) {
      this.messages.push(message)
      this.events.push(text(message))
    }
    this.#wake?.()
  }

  ended(reason: RatatoskrError | undefined): void {
    this.events.push(`ended ${reason?.code}`)
    this.end.resolve(reason)
    this.#wake?.()
  }

  /** Resolves when there are this many messages. */
  async count(messages: number): Promise<void> {
    while (this.messages.length < messages) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

export const text = (message: Message): string => new TextDecoder().decode(message.payload)

export async function rigWithOrders(options?: RigOptions) {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 1 })
  return rig
}
