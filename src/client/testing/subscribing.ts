/** What the tests of subscriptions share: a client of a fake broker, and batches for it. */
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import { BatchBuilder, portableCrc32c, utf8 } from '../../ports/index.ts'
import type { ConnectOptions } from '../connect-with.ts'
import { FakeBroker } from './fake-broker.ts'
import { testPlatform } from './test-platform.ts'

/** A client of a fake broker that has the topic `orders`, on a clock that stands still. */
export async function setup(partitions = 1, options: ConnectOptions = {}) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders', partitions)
  const client = await broker.client(testPlatform(clock), options)
  /** Lets everything that needs no time happen. */
  const settle = () => clock.advance(0)
  return { clock, broker, client, settle }
}

const builder = new BatchBuilder({ checksum: portableCrc32c })

export function batchOf(...texts: string[]): Uint8Array {
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}

/** So many numbers as texts. */
export const numbers = (from: number, count: number) => Array.from({ length: count }, (_, i) => `${from + i}`)
