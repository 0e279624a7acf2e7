import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from './client.ts'
import { connect } from './connect.ts'

describe('an option that does not exist', () => {
  const broker = createBroker({ storage: memoryStorage() })
  let client: Client

  beforeAll(async () => {
    await (await broker).start()
    client = await (await broker).client()
    await client.createTopic('t')
    await client.createQueue('t', 'g')
  })
  afterAll(async () => {
    await client.close()
    await (await broker).stop()
  })

  // What a program in plain JavaScript may give.
  const wrong = (options: unknown) => options as never

  it.each<[string, (client: Client) => unknown, string]>([
    ['publish', (c) => c.publish('t', 'x', wrong({ ttl: 5 })), 'known are'],
    ['publish', (c) => c.publish('t', 'x', wrong({ ttlms: 5 })), 'did you mean ttlMs?'],
    ['publish', (c) => c.publish('t', 'x', wrong(5)), 'the options of publish are an object, got 5'],
    ['publishMany', (c) => c.publishMany('t', [], wrong({ durabilty: 'os' })), 'did you mean durability?'],
    ['publishBatch', (c) => c.publishBatch('t', 0, new Uint8Array(1), wrong({ leese: 1 })), 'mean lease?'],
    ['addAll', (c) => c.producer().addAll('t', [wrong({ payload: 'x', ttlms: 5 })]), 'did you mean ttlMs?'],
    ['subscribe', (c) => c.subscribe('t', wrong({ frm: 'earliest' })), 'did you mean from?'],
    ['subscribe', (c) => c.subscribe('t', () => {}, wrong({ concurency: 1 })), 'did you mean concurrency?'],
    ['subscribe', (c) => c.subscribe('t', wrong(5)), 'the options of subscribe are an object, got 5'],
    ['batches', (c) => c.batches('t', wrong({ grup: 'g' })), 'did you mean group?'],
    ['fetch', (c) => c.fetch('t', wrong({ limit: 5 })), 'known are'],
    ['createTopic', (c) => c.createTopic('t', {}, wrong({ timeout: 5 })), 'did you mean timeoutMs?'],
    ['listScheduled', (c) => c.listScheduled('t', wrong({ limits: 5 })), 'did you mean limit?'],
    ['deadLetters', (c) => c.deadLetters('t', wrong({ mach: 'x' })), 'did you mean match?'],
    [
      'redriveDeadLetters',
      (c) => c.redriveDeadLetters('t', wrong({ dryruns: true })),
      'did you mean dryRun?',
    ],
    ['purgeDeadLetters', (c) => c.purgeDeadLetters('t', wrong({ reasn: 'x' })), 'did you mean reason?'],
    ['take', (c) => c.take('t', 'g', wrong({ messageMax: 1 })), 'did you mean messagesMax?'],
    ['settle', (c) => c.settle('t', 'g', [], wrong({ membr: 'm' })), 'did you mean member?'],
    ['commit', (c) => c.commit('t', 's', [], wrong({ membr: 'm' })), 'did you mean member?'],
    ['seek', (c) => c.seek('t', 'g', 'earliest', wrong({ partition: [0] })), 'did you mean partitions?'],
    ['createQueue', (c) => c.createQueue('t', 'h', {}, wrong({ frm: 'latest' })), 'did you mean from?'],
    ['pauseQueue', (c) => c.pauseQueue('t', 'g', wrong({ partition: [0] })), 'did you mean partitions?'],
  ])('of %s is refused with the nearest that does', async (_, call, hint) => {
    await expect((async () => call(client))()).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.stringContaining(hint),
    })
  })

  it('of connecting, and of the client of a broker in its own process', async () => {
    const refused = (hint: string) => ({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.stringContaining(hint),
    })
    const misspelt = connect('tcp://127.0.0.1:1', wrong({ conections: 3 }))
    await expect(misspelt).rejects.toMatchObject(refused('did you mean connections?'))
    const own = (await broker).client(wrong({ timeout: 5 }))
    await expect(own).rejects.toMatchObject(refused('did you mean timeoutMs?'))
  })

  it('of a producer, too, and of each of many messages', async () => {
    expect(() => client.producer(wrong({ lingers: 5 }))).toThrow('did you mean lingerMs?')
    const results = await client.publishMany('t', [wrong({ payload: 'x', heders: {} }), { payload: 'y' }])
    expect(results).toMatchObject([
      { error: { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining('did you mean headers?') } },
      { partition: 0 },
    ])
  })

  it('is not one whose value is undefined', async () => {
    await expect(client.publish('t', 'x', { key: undefined, ttlMs: undefined })).resolves.toMatchObject({
      partition: 0,
    })
  })
})
