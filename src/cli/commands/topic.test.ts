import { PassThrough } from 'node:stream'
import type { EmbeddedBroker } from 'ratatoskr'
import { httpTransport } from 'ratatoskr/adapters/http'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonLines, runHere } from '../testing/run-here.ts'

let broker: EmbeddedBroker
beforeAll(async () => {
  broker = await startTestBroker({ transports: [httpTransport({ port: 0 })] })
})
afterAll(() => broker.stop())

const topic = (...args: string[]) => runHere(['topic', ...args, '--url', broker.addresses[0].url])

/** A terminal on which somebody answers. */
function terminal(answer: string): PassThrough {
  const stream = Object.assign(new PassThrough(), { isTTY: true })
  stream.end(`${answer}\n`)
  return stream
}

describe('topic', () => {
  it('is created once, with the configuration asked for', async () => {
    const words = ['create', 'made', '--partitions', '2', '--set', 'retentionMs=60000', '-o', 'ndjson']
    const made = await topic(...words)
    expect([made.code, made.stderr]).toEqual([0, 'created made\n'])
    expect(jsonLines(made.stdout)).toEqual([
      expect.objectContaining({ topic: 'made', partitions: 2, messages: 0, retentionMs: 60_000 }),
    ])
    expect((await topic(...words)).stderr).toBe('made exists with this configuration\n')
    expect((await broker.describeTopic('made')).config).toMatchObject({ partitions: 2, retentionMs: 60_000 })
  })

  it('keeps what its creator says, until that is altered', async () => {
    const made = await topic('create', 'queue', '--retention', 'workqueue', '--retention-messages', '5000')
    expect(made.code).toBe(0)
    const config = async () => (await broker.describeTopic('queue')).config
    expect(await config()).toMatchObject({ retention: 'workqueue', retentionMessages: 5_000 })
    const altered = await topic('alter', 'queue', '--retention', 'limits', '--retention-messages', '-1')
    expect(altered.code).toBe(0)
    expect(await config()).toMatchObject({ retention: 'limits', retentionMessages: -1 })
    const table = (await topic('describe', 'queue')).stdout.toString()
    expect(table).toMatch(/\nretentionMessages +-1\nretention +limits\n/)
    const refused = await topic('alter', 'queue', '--retention', 'forever')
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringMatching(/retention must be .*limits, workqueue/),
    ])
  })

  it('has settings for its queue groups', async () => {
    const retry = 'retry=exponential:1s..60s~0.2'
    const words = ['--set', 'queue.retriesMax=5', '--set', `queue.${retry}`]
    expect((await topic('create', 'work', ...words)).code).toBe(0)
    expect((await broker.describeTopic('work')).config.queue).toEqual({
      retriesMax: 5,
      retry: { kind: 'exponential', delayMs: 1_000, maxMs: 60_000, jitter: 0.2 },
    })
    expect((await topic('alter', 'work', '--set', 'queue.sharing=shared')).code).toBe(0)
    const table = (await topic('describe', 'work')).stdout.toString()
    expect(table).toMatch(
      /\nqueue.sharing +shared\nqueue.retriesMax +5\nqueue.retry +exponential:1s..1m~0.2\n/,
    )
    const refused = await topic('create', 'bad', '--set', 'queue.retrys=5')
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('retrys')])
  })

  it('is listed with what it holds', async () => {
    await broker.createTopic('full', { partitions: 2 })
    for (const partition of [0, 1]) await broker.publish('full', 'x', { partition })
    const { stdout } = await topic('list')
    const [header, ...rows] = stdout.toString().trimEnd().split('\n')
    expect(header).toMatch(/^TOPIC +PARTITIONS +MESSAGES +BYTES +DURABILITY +RETENTIONMS$/)
    expect(rows.find((row) => row.startsWith('full '))).toMatch(/^full +2 +2 +[1-9]\d* /)
  })

  it('is described, as a table and as JSON', async () => {
    await broker.createTopic('seen', { partitions: 2 })
    const table = (await topic('describe', 'seen')).stdout.toString()
    expect(table).toMatch(/^topic +seen\n/)
    expect(table).toMatch(
      /\n\nPARTITION +STARTOFFSET +STABLEOFFSET +ENDOFFSET +SIZEBYTES +STATE +DAMAGED\n0 .*\n1 .*\n$/,
    )
    const { stdout } = await topic('describe', 'seen', '-o', 'json')
    expect(JSON.parse(stdout.toString())).toEqual(
      JSON.parse(JSON.stringify(await broker.describeTopic('seen'))),
    )
  })

  it('is altered', async () => {
    await broker.createTopic('grows')
    const { code, stdout } = await topic('alter', 'grows', '--partitions', '3', '-o', 'json')
    expect([code, JSON.parse(stdout.toString()).partitions]).toEqual([0, 3])
    expect((await broker.describeTopic('grows')).partitions).toHaveLength(3)
  })

  it.each([
    ['with --yes', 'a', ['--yes'], undefined, true],
    ['when its name is typed', 'b', [], 'b', true],
    ['not when something else is typed', 'c', [], 'yes', false],
    ['not when there is nobody to ask', 'd', [], undefined, false],
  ])('is deleted %s', async (_case, name, flags, answer, gone) => {
    await broker.createTopic(name)
    const words = ['topic', 'delete', name, ...flags, '--url', broker.addresses[0].url]
    const ended = await runHere(words, answer === undefined ? {} : { stdin: terminal(answer) })
    expect(ended.code).toBe(gone ? 0 : 1)
    expect(ended.stderr).toContain(gone ? `deleted ${name}\n` : `RTK_CANCELLED: ${name} was not deleted`)
    expect(await broker.topicExists(name)).toBe(!gone)
  })
})
