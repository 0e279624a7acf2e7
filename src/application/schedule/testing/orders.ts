/** A broker with a topic for messages that come later, what is read from it, and what a crash leaves. */
import { messagesOf } from '../../../domain/batch/messages.ts'
import type { Message, Session } from '../../../ports/index.ts'
import { utf8Text } from '../../../ports/index.ts'
import { type BenchOptions, BrokerBench } from '../../testing/broker-bench.ts'

export const dayMs = 24 * 60 * 60 * 1_000
export const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** Sweeps would fill a year of manual time. */
const quiet = { settings: { retentionIntervalMs: 1_000 * dayMs } }

export async function started(options: BenchOptions = {}): Promise<{ bench: BrokerBench; session: Session }> {
  const bench = new BrokerBench({ ...quiet, ...options })
  const session = await bench.start()
  await session.createTopic('orders')
  return { bench, session }
}

export async function read(session: Session, topic = 'orders', partition = 0): Promise<readonly Message[]> {
  const found: Message[] = []
  for (let offset = 0; ; ) {
    const { bytes, nextOffset, topicId } = await session.fetch(topic, { partition, offset })
    if (bytes.length === 0) return found
    found.push(
      ...messagesOf(
        bytes,
        { topic, topicId, partition, expansion: { codecs: new Map(), bytesMax: 1e9 } },
        offset,
      ),
    )
    offset = nextOffset
  }
}

export const texts = async (session: Session, topic = 'orders', partition = 0): Promise<readonly string[]> =>
  (await read(session, topic, partition)).map(({ payload }) => utf8Text(payload))

/**
 * A new process on copies of the stores as they are now: the old one is gone without a word, and as nobody moves its clock
 * any more it does nothing.
 */
export async function crashed(bench: BrokerBench): Promise<{ bench: BrokerBench; session: Session }> {
  const next = new BrokerBench(bench.options)
  next.clock.jumpTo(bench.clock.now())
  for (const [key, kept] of bench.logs.kept) {
    next.logs.kept.set(key, { ...kept, batches: [...kept.batches], open: undefined })
  }
  next.logs.onRead = bench.logs.onRead
  next.logs.onOpen = bench.logs.onOpen
  next.state.started = true
  for await (const { key, value } of bench.state.list('')) await next.state.put(key, value)
  return { bench: next, session: await next.start() }
}

export async function restarted(bench: BrokerBench): Promise<Session> {
  await bench.broker.stop()
  bench.broker = bench.makeBroker()
  return bench.start()
}
