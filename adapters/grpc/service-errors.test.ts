/** What bare gRPC calls are told when they fail: the status, the code, and the error in full. */
import { type Client, status } from '@grpc/grpc-js'
import { type ErrorCode, utf8, utf8Text } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { beforeEach, describe, expect, it } from 'vitest'
import { failureOf, format, message, noConfig } from './testing/bare-calls.ts'
import { call, Harness } from './testing/harness.ts'

const topics = proto.TopicServiceService
const messages = proto.MessageServiceService

let harness: Harness
let client: Client

beforeEach(async () => {
  harness = await Harness.start({ broker: { autoCreateTopics: false } })
  client = harness.client()
})

describe('errors', () => {
  const unknownTopic = { topic: 'nowhere' }
  const cases: [string, () => Promise<unknown>, status, ErrorCode][] = [
    [
      'no such topic',
      () => call(client, topics.getTopic, unknownTopic),
      status.NOT_FOUND,
      'RTK_TOPIC_NOT_FOUND',
    ],
    [
      'a bad name',
      () => call(client, topics.createTopic, { topic: 'not a name', config: undefined }),
      status.INVALID_ARGUMENT,
      'RTK_TOPIC_NAME_INVALID',
    ],
    [
      'a position that is missing',
      () => call(client, topics.listOffsets, { topic: 'orders', position: undefined }),
      status.INVALID_ARGUMENT,
      'RTK_INVALID_ARGUMENT',
    ],
    [
      'an edge that is none',
      () => call(client, messages.fetch, { format, topic: 'orders', partition: 0 }),
      status.INVALID_ARGUMENT,
      'RTK_INVALID_ARGUMENT',
    ],
    [
      'a message that is missing',
      () => call(client, messages.publish, { topic: 'orders', message: undefined, durability: 0 }),
      status.INVALID_ARGUMENT,
      'RTK_INVALID_ARGUMENT',
    ],
    [
      'a durability that is none',
      () =>
        call(client, messages.publish, { topic: 'orders', message: message('a'), durability: 9 as never }),
      status.INVALID_ARGUMENT,
      'RTK_INVALID_ARGUMENT',
    ],
    [
      'a durability that the store has not',
      () => call(client, messages.publish, { topic: 'orders', message: message('a'), durability: 5 }),
      status.UNIMPLEMENTED,
      'RTK_DURABILITY_UNAVAILABLE',
    ],
    [
      'an offset beyond the end',
      () => call(client, messages.fetch, { format, topic: 'orders', partition: 0, offset: 9 }),
      status.OUT_OF_RANGE,
      'RTK_OFFSET_OUT_OF_RANGE',
    ],
    [
      'another configuration',
      () => call(client, topics.createTopic, { topic: 'orders', config: { ...noConfig, partitions: 9 } }),
      status.FAILED_PRECONDITION,
      'RTK_TOPIC_EXISTS',
    ],
    [
      'too large a message',
      () =>
        call(client, messages.publish, {
          topic: 'orders',
          message: { payload: new Uint8Array(8 * 1024 * 1024 + 1), headers: [] },
          durability: 0,
        }),
      status.RESOURCE_EXHAUSTED,
      'RTK_MESSAGE_TOO_LARGE',
    ],
    [
      'no batch at all',
      () =>
        call(client, messages.publishRecordBatch, {
          topic: 'orders',
          partition: 0,
          durability: 0,
          batches: utf8('no batch'),
        }),
      status.INVALID_ARGUMENT,
      'RTK_BATCH_MALFORMED',
    ],
  ]

  it.each(cases)('%s', async (_, run, expected, code) => {
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    const failure = await failureOf(run())
    expect(failure).toMatchObject({ status: expected, code, error: { code, retryable: false } })
    expect(failure.error.message).not.toMatch(/node_modules|\.ts:|^\s*at /m)
  })

  it('bytes that are no message are INVALID_ARGUMENT with RTK_FRAME_MALFORMED', async () => {
    const asIs = { requestSerialize: (bytes: Buffer) => bytes }
    for (const wire of [
      [0x0a, 0xff],
      [0xff, 0xff, 0xff],
      [0x0a, 0x02, 0x41],
    ]) {
      const answer = call(client, { ...topics.getTopic, ...asIs } as never, Buffer.from(wire))
      expect(await failureOf(answer)).toMatchObject({
        status: status.INVALID_ARGUMENT,
        code: 'RTK_FRAME_MALFORMED',
      })
    }
  })

  it('messages are bounded and can be sent whatever they hold', async () => {
    const failure = await failureOf(
      call(client, topics.getTopic, { topic: `\ud800${'x'.repeat(5_000)}\r\n` }),
    )
    expect(failure.code).toBe('RTK_TOPIC_NAME_INVALID')
    expect(failure.error.message.length).toBeLessThanOrEqual(1_024)
    expect(utf8Text(utf8(failure.error.message))).toBe(failure.error.message)
  })
})
