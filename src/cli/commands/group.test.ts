import type { EmbeddedBroker } from 'ratatoskr'
import { httpTransport } from 'ratatoskr/adapters/http'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runHere } from '../testing/run-here.ts'

let broker: EmbeddedBroker
beforeAll(async () => {
  broker = await startTestBroker({ transports: [httpTransport({ port: 0 })] })
  await broker.createTopic('orders')
  for (let i = 0; i < 6; i++) await broker.publish('orders', `${i}`)
})
afterAll(() => broker.stop())

const run = async (line: string) => {
  const { code, stdout, stderr } = await runHere([...line.split(' '), '--url', broker.addresses[0].url])
  expect([code, stderr]).toEqual([0, ''])
  return stdout.toString()
}

describe('sub and group', () => {
  it('go on where the member before stopped; seek moves the group', async () => {
    expect(await run('sub orders -g g --from earliest -n 2')).toBe('0\n1\n')
    expect(await run('sub orders -g g -n 3')).toBe('2\n3\n4\n')
    expect(JSON.parse(await run('group describe orders g -o json'))).toMatchObject({ lag: 1, state: 'empty' })
    expect(await run('group describe orders g')).toMatch(
      /^topic +orders\ngroup +g\nkind +queue, partitioned\nstate +empty\nlag +1\ninFlight +0\ndelayed +0\nmembers +-\n\nPARTITION +ACKEDOFFSET .*\n0 +5 +6 +1 +0 +0 +-\n$/,
    )
    expect(JSON.parse(await run('group seek orders g --to 1 -p 0 -o json'))).toEqual([
      expect.objectContaining({ partition: 0, offset: 1 }),
    ])
    expect(await run('sub orders -g g -n 2')).toBe('1\n2\n')
    expect(await run('group list orders')).toBe('GROUP  KIND\ng      queue\n')
  })

  it('are of two kinds, and queues are created, changed, paused, resumed and deleted', async () => {
    const settings = '--sharing shared --ack-timeout 2s --retries 5 --retry fixed:1s --dead-letter-topic none'
    const created = JSON.parse(
      await run(`group create orders q ${settings} --set inFlightMax=9 --from 4 -o json`),
    )
    expect(created).toMatchObject({
      kind: 'queue',
      lag: 2,
      config: {
        sharing: 'shared',
        ackTimeoutMs: 2_000,
        retriesMax: 5,
        retry: { kind: 'fixed', delayMs: 1_000 },
        deadLetterTopic: 'none',
        inFlightMax: 9,
      },
    })
    const altered = JSON.parse(await run('group alter orders q --retries 1 -o json'))
    expect(altered.config).toEqual({ ...created.config, retriesMax: 1 })
    await run('group pause orders q')
    expect(await run('group describe orders q')).toMatch(/^state +paused$/m)
    await run('group resume orders q')
    await run('group pause orders q -p 0')
    expect(await run('group describe orders q')).toMatch(/^state +empty$/m)
    expect(await run('group describe orders q')).toMatch(/^0 .+ paused$/m)
    await run('group resume orders q -p 0')
    expect(await run('group describe orders q')).not.toContain('paused')
    expect(await run('group describe orders q')).toMatch(/^state +empty$/m)
    await using client = await broker.client()
    await client.commit('orders', 's', [{ partition: 0, offset: 2 }])
    expect(await run('group list orders')).toMatch(/^q +queue\ns +stream$/m)
    expect(await run('group describe orders s')).toMatch(/^kind +stream$/m)
    await run('group delete orders q')
    await run('group delete orders s')
    expect(await run('group list orders')).toBe('GROUP  KIND\ng      queue\n')
  })

  it('read from an offset, a time and the start without a group', async () => {
    expect(await run('sub orders --from 4 -p 0 -n 2')).toBe('4\n5\n')
    expect(await run('sub orders --from @0 -n 1')).toBe('0\n')
  })

  it('stop at a signal, and leave no listener behind', async () => {
    const listeners = process.listeners('SIGINT')
    const running = run('sub orders --from latest')
    await expect.poll(() => process.listenerCount('SIGINT')).toBe(listeners.length + 1)
    // The listener alone is called: the signal would end the runner of the tests too.
    const [stop] = process.listeners('SIGINT').filter((one) => !listeners.includes(one))
    stop('SIGINT')
    expect(await running).toBe('')
    expect(process.listeners('SIGINT')).toEqual(listeners)
  })
})
