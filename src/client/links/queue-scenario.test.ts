/** The same scenario over every link gives the same event log. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import { sharings } from '../../ports/index.ts'
import { queueRigs } from './testing/queue-kit.ts'
import { queueScenario } from './testing/queue-scenario.ts'

describe.each(sharings)('a scenario of a queue group that is %s', (sharing) => {
  it('gives the same event log whatever carries it', async () => {
    const logs = new Map<string, readonly string[]>()
    for (const [name, start] of queueRigs) {
      const clock = new ManualClock()
      logs.set(name, await queueScenario(await start({ platform: { clock } }), clock, sharing))
    }
    const [embedded, ...others] = logs
    expect(others.map(([name]) => name)).toEqual(['gRPC', 'WebSocket', 'HTTP', 'TCP'])
    for (const [name, log] of others) expect(log, name).toEqual(embedded[1])
    // What is compared must be more than silence.
    const text = embedded[1].join('\n')
    for (const seen of [
      '#2 redelivered',
      'RTK_LEASE_LOST',
      'lost 0:',
      'dead letters: some',
      'three took',
      'i1 #1, j1 #1', // with what was held by a member that was cut off, where members share
    ]) {
      expect(text).toContain(seen)
    }
  })
})
