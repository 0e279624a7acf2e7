/** Whatever number a request cannot hold is refused before it is written, by the name of its field. */
import { describe, expect, it } from 'vitest'
import * as proto from '../../../proto/index.ts'
import { requestBytes, type Writing } from './grpc-requests.ts'

const messages = proto.MessageServiceService
const queues = proto.QueueServiceService
const fetch = { topic: 'orders', partition: 0, offset: 0, bytesMax: 1, waitMs: 1, format: 1 } as const
const uint32 = 'a whole number from 0 to 4294967295'
const int64 = 'a whole number from -9007199254740991 to 9007199254740991'
const settlement = { action: 1, partition: 0, lease: 1, from: 0, to: 1, reason: '' } as const
const settling = { topic: 'orders', group: 'q', member: '' }

function refusal<Request>(method: Writing<Request>, request: Request): unknown {
  try {
    return requestBytes(method, request).length
  } catch (error) {
    return error
  }
}

describe('a request over gRPC', () => {
  it.each([
    ...[-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32, 2 ** 60].flatMap((value) =>
      (['partition', 'bytesMax', 'waitMs'] as const).map((field) => [field, value, uint32] as const),
    ),
    ...[1.5, Number.NaN, 2 ** 53, -(2 ** 60), Number.NEGATIVE_INFINITY].map(
      (value) => ['offset', value, int64] as const,
    ),
  ])('with %s %s is refused', (field, value, range) => {
    expect(refusal(messages.fetch, { ...fetch, [field]: value })).toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
      message: `${field} must be ${range}, got ${value}`,
      details: { field },
    })
  })

  it('names the place of a number within lists and messages', () => {
    const settlements = [settlement, { ...settlement, extendMs: 2 ** 70 }]
    expect(refusal(queues.settle, { ...settling, settlements })).toMatchObject({
      message: `settlements[1].extendMs must be ${int64}, got ${2 ** 70}`,
    })
    const config: proto.QueueConfig = { sharing: 1, retriesMax: 2 ** 31, retry: { list: { delaysMs: [1] } } }
    expect(
      refusal(queues.createQueue, { topic: 'orders', group: 'q', config, from: undefined }),
    ).toMatchObject({
      message: 'config.retriesMax must be a whole number from -2147483648 to 2147483647, got 2147483648',
    })
    const retry = { list: { delaysMs: [1, 0.5] } }
    expect(
      refusal(queues.alterQueue, { topic: 'orders', group: 'q', changes: { sharing: 0, retry }, unset: [] }),
    ).toMatchObject({
      message: `changes.retry.list.delaysMs[1] must be ${int64}, got 0.5`,
    })
  })

  it('is written when its numbers are right, whole or not', () => {
    const retry = { exponential: { delayMs: 1, maxMs: 2, jitter: 0.25 } }
    const request = {
      topic: 'orders',
      group: 'q',
      changes: { sharing: 0 as const, retry },
      unset: ['retriesMax'],
    }
    expect(proto.AlterQueueRequest.decode(requestBytes(queues.alterQueue, request))).toMatchObject(request)
    expect(refusal(messages.fetch, fetch)).toBeGreaterThan(0)
  })

  it('with something of another type is refused too', () => {
    expect(refusal(queues.settle, { ...settling, settlements: 5 as never })).toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
  })
})
