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

const pub = (args: readonly string[], input?: readonly (Uint8Array | string)[]) =>
  runHere(['pub', ...args, '--url', broker.addresses[0].url], { input })

const payloads = async (topic: string): Promise<Buffer[]> => {
  const { stdout } = await runHere([
    ...['sub', topic, '--from', 'earliest', '-o', 'ndjson', '--url', broker.addresses[0].url],
    ...['-n', String((await broker.topicStats(topic)).messageCount)],
  ])
  return jsonLines<{ payload: string }>(stdout).map(({ payload }) => Buffer.from(payload, 'base64'))
}

describe('pub', () => {
  it('publishes the payload with its key, headers and partition, and prints the receipt', async () => {
    await broker.createTopic('one', { partitions: 3 })
    const fields = [
      '-k',
      'key',
      '-H',
      'a=1',
      '-H',
      'b=x=y',
      '-p',
      '2',
      '--durability',
      'memory',
      '-o',
      'ndjson',
    ]
    const { code, stdout } = await pub(['one', 'hello', ...fields])
    const [receipt] = jsonLines<{ id: string }>(stdout)
    expect([code, receipt]).toEqual([
      0,
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        partition: 2,
        offset: 0,
        durability: 'memory',
      },
    ])
    const printed = await runHere([
      ...['sub', 'one', '-p', '2', '--from', '0', '-n', '1', '-o', 'json'],
      ...['--url', broker.addresses[0].url],
    ])
    expect(JSON.parse(printed.stdout.toString())).toMatchObject({
      id: receipt.id,
      key: 'key',
      headers: { a: '1', b: 'x=y' },
    })
  })

  it('publishes for as long as it is told, one message or each line, and sub says until when', async () => {
    const beforeMs = Date.now()
    expect((await pub(['short', 'x', '--ttl', '2h'])).code).toBe(0)
    expect((await pub(['short', '--ttl', '90000ms'], ['line\n'])).code).toBe(0)
    expect((await pub(['short', 'stays'])).code).toBe(0)
    const { stdout } = await runHere([
      ...['sub', 'short', '--from', 'earliest', '-n', '3', '-o', 'json', '--url', broker.addresses[0].url],
    ])
    const [hours, millis, none] = jsonLines<{ expiresAtMs?: number }>(stdout)
    for (const [{ expiresAtMs = 0 }, ttlMs] of [[hours, 7_200_000] as const, [millis, 90_000] as const]) {
      expect(expiresAtMs).toBeGreaterThan(beforeMs + ttlMs - 1_000)
      expect(expiresAtMs).toBeLessThan(Date.now() + ttlMs + 1_000)
    }
    expect(none).not.toHaveProperty('expiresAtMs')
  })

  it('publishes for later, one message or each line; what waits is listed, and one can be taken back', async () => {
    const url = ['--url', broker.addresses[0].url]
    await broker.createTopic('later')
    const { stdout } = await pub(['later', 'x', '--delay', '2h', '-o', 'ndjson'])
    const [receipt] = jsonLines<{ id: string; deliverAtMs: number }>(stdout)
    expect(receipt).toMatchObject({ partition: -1, offset: -1 })
    expect(receipt.deliverAtMs).toBeGreaterThan(Date.now() + 7_100_000)
    const at = new Date(Date.now() + 3_600_000).toISOString()
    expect((await pub(['later', '--at', at], ['one\ntwo\n'])).code).toBe(0)
    const list = async () =>
      jsonLines<{ id: string; deliverAt: string }>(
        (await runHere(['scheduled', 'list', 'later', '-o', 'ndjson', ...url])).stdout,
      )
    expect((await list()).map(({ deliverAt }) => deliverAt).slice(0, 2)).toEqual([at, at])
    expect((await list()).map(({ id }) => id)).toHaveLength(3)
    expect((await list())[2].id).toBe(receipt.id)
    expect((await runHere(['scheduled', 'cancel', 'later', receipt.id, ...url])).code).toBe(0)
    expect((await runHere(['scheduled', 'cancel', 'later', receipt.id, ...url])).code).toBe(1)
    expect(await list()).toHaveLength(2)
    expect((await broker.topicStats('later')).messageCount).toBe(0)
    expect((await pub(['later', 'now', '--at', '2020-01-01'])).code).toBe(0)
    expect((await payloads('later')).map(String)).toEqual(['now'])
    for (const wrong of [
      ['--delay', '5'],
      ['--at', 'soon'],
      ['--at', at, '--delay', '1h'],
      ['--delay', '367d'],
    ]) {
      expect((await pub(['later', 'x', ...wrong])).code).not.toBe(0)
    }
  })

  it('refuses a time to live without a unit, before it publishes', async () => {
    const { code, stderr } = await pub(['untouched', 'x', '--ttl', '5'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('--ttl takes a duration')])
    expect(await broker.topicExists('untouched')).toBe(false)
  })

  it.each([
    ['lines', ['a\nb\n'], ['a', 'b']],
    ['a last line without its line feed', ['a\nb'], ['a', 'b']],
    ['empty lines', ['\n\na\n\n'], ['', '', 'a', '']],
    ['carriage returns, which belong to their lines', ['a\r\nb\r\n'], ['a\r', 'b\r']],
    ['lines over many chunks', ['on', 'e l', 'ine\ntw', 'o\n'], ['one line', 'two']],
    ['bytes that are no text', [Uint8Array.of(0xff, 0, 0x0a, 0xc3, 0x28, 0x0a)], ['\xff\0', '\xc3(']],
  ])('publishes of stdin %s', async (name, input, lines) => {
    const topic = name.replaceAll(/\W+/g, '-')
    const { code, stderr } = await pub([topic], input)
    expect([code, stderr]).toEqual([0, `pub ${topic}: ${lines.length} messages published\n`])
    expect(await payloads(topic)).toEqual(lines.map((line) => Buffer.from(line, 'latin1')))
  })

  it('publishes nothing of an empty stdin', async () => {
    expect(await pub(['nothing'], [])).toMatchObject({
      code: 0,
      stderr: 'pub nothing: 0 messages published\n',
    })
  })
})
