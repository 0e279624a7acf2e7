/** Publishes by one client and asserts that another is given the same, byte for byte. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import type { Client, ClientMessage, MessageToPublish } from 'ratatoskr/client'
import { type PublishReceipt, utf8 } from 'ratatoskr/ports'

/** The operations that are needed: a client has them, and so has an embedded broker. */
type Publisher = Pick<Client, 'publishMany'>
type Subscriber = Pick<Client, 'subscribe'>

/** What is published, and by whom it is to be received. */
export interface DeliveryOptions {
  readonly topic: string
  readonly messages: readonly (string | Uint8Array | MessageToPublish)[]
  readonly publisher: Publisher
  /** The publisher by default, which then must be able to subscribe. */
  readonly subscriber: Subscriber
  /** Subscribes as a member of this group; otherwise from the latest message on. */
  readonly group?: string
}

/** What was acknowledged, and what was delivered. */
export interface DeliveryReport {
  readonly receipts: readonly PublishReceipt[]
  /** In the order of `messages`. */
  readonly delivered: readonly ClientMessage[]
}

/**
 * Asserts that every message is acknowledged and delivered once, in the order of its partition, every field as it was given.
 * Waits for as long as it takes: the deadline is the test's own.
 */
export async function publishAndAssertDelivery(options: DeliveryOptions): Promise<DeliveryReport> {
  const { topic, publisher, subscriber, group } = options
  const messages = options.messages.map((message) =>
    typeof message === 'string' || message instanceof Uint8Array ? { payload: message } : message,
  )
  await using subscription = await subscriber.subscribe(topic, { group })
  const results = await publisher.publishMany(topic, messages)
  const receipts = results.map((result) => {
    if ('error' in result) throw result.error
    return result
  })
  const delivered = await take(subscription, messages.length)
  const byId = new Map(delivered.map((message) => [message.id, message]))
  strictEqual(byId.size, messages.length, 'each message is delivered once')
  const inOrder = receipts.map((receipt, i) => {
    const message = byId.get(receipt.id)
    if (message === undefined) throw new Error(`message ${i} was acknowledged and not delivered`)
    assertSame(message, messages[i], receipt)
    return message
  })
  assertOrdered(delivered)
  return { receipts, delivered: inOrder }
}

/** The first `count` messages of a subscription, acknowledged. */
async function take(subscription: AsyncIterable<ClientMessage>, count: number): Promise<ClientMessage[]> {
  const taken: ClientMessage[] = []
  if (count === 0) return taken
  for await (const message of subscription) {
    taken.push(message)
    message.ack()
    if (taken.length === count) break
  }
  return taken
}

function assertSame(message: ClientMessage, wanted: MessageToPublish, receipt: PublishReceipt): void {
  deepStrictEqual([message.partition, message.offset], [receipt.partition, receipt.offset])
  deepStrictEqual(bytes(message.payload), bytes(wanted.payload), 'payload')
  deepStrictEqual(message.key && bytes(message.key), wanted.key === undefined ? undefined : bytes(wanted.key))
  if (wanted.id !== undefined) strictEqual(message.id, wanted.id)
  if (wanted.timestampMs !== undefined) strictEqual(message.timestampMs, wanted.timestampMs)
  if (wanted.partition !== undefined) strictEqual(message.partition, wanted.partition)
  deepStrictEqual(
    message.headers.map(([name, value]) => [name, bytes(value)]),
    headersOf(wanted).map(([name, value]) => [name, bytes(value)]),
    'headers',
  )
}

function headersOf({ headers = [] }: MessageToPublish): (readonly [string, string | Uint8Array])[] {
  return Symbol.iterator in headers ? [...headers] : Object.entries(headers)
}

function assertOrdered(messages: readonly ClientMessage[]): void {
  const last = new Map<number, number>()
  for (const { partition, offset } of messages) {
    const before = last.get(partition) ?? -1
    if (offset <= before)
      throw new Error(`partition ${partition}: offset ${offset} came after offset ${before}`)
    last.set(partition, offset)
  }
}

/** Bytes as text: quicker to compare than arrays, and readable in a failure. */
const bytes = (value: string | Uint8Array): string =>
  Buffer.from(typeof value === 'string' ? utf8(value) : value).toString('latin1')
