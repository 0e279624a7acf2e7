/** A broker with a topic `orders`, and what the topic's first partition holds. */
import {
  type FetchedBatch,
  messagesOf,
  type PublishReceipt,
  type Session,
  utf8Text,
} from '../../../ports/index.ts'
import { type BenchOptions, BrokerBench } from '../../testing/broker-bench.ts'

export async function started(options: BenchOptions = {}): Promise<{ bench: BrokerBench; session: Session }> {
  const bench = new BrokerBench(options)
  const session = await bench.start()
  await session.createTopic('orders')
  return { bench, session }
}

/** What the topic's first partition holds. */
export async function textsOf(session: Session): Promise<string[]> {
  const texts: string[] = []
  for (let offset = 0; ; ) {
    const found: FetchedBatch = await session.fetch('orders', { partition: 0, offset, bytesMax: 1_000_000 })
    if (found.bytes.length === 0) return texts
    const source = {
      topic: 'orders',
      topicId: 'x',
      partition: 0,
      expansion: { codecs: new Map(), bytesMax: 1 },
    }
    for (const one of messagesOf(found.bytes, source, found.fromOffset)) texts.push(utf8Text(one.payload))
    offset = found.nextOffset
  }
}

export const offsetsOf = (receipts: readonly PublishReceipt[]): number[] =>
  receipts.map(({ offset }) => offset)
