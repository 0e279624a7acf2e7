/** A client of a broker in memory with a topic to publish to, and what to refuse publishes with. */
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { FakeBroker } from './fake-broker.ts'
import { testPlatform } from './test-platform.ts'

export async function setup(partitions = 1) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders', partitions)
  const client = await broker.client(testPlatform(clock))
  return { clock, broker, client }
}

export const error = (
  code: ConstructorParameters<typeof RatatoskrError>[0],
  details?: RatatoskrError['details'],
) => new RatatoskrError(code, 'from the test', { details })
export const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
