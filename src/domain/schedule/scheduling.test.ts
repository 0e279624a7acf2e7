import { describe, expect, it } from 'vitest'
import type { OutgoingMessage } from '../message.ts'
import { decodeScheduleHeader, encodeScheduleHeader, int64Of, int64Value } from './schedule-headers.ts'
import { deliveryTimesOf } from './scheduling.ts'

const nowMs = 1_000_000.25
const dayMs = 86_400_000
const timesOf = (fields: Partial<OutgoingMessage>) =>
  deliveryTimesOf({ payload: new Uint8Array(0), ...fields }, nowMs)

describe('the times of a message', () => {
  it('are whole milliseconds, and a time to live counts from the delivery', () => {
    expect(timesOf({ delayMs: 10 })).toEqual({ deliverAtMs: 1_000_010, expiresAtMs: undefined })
    expect(timesOf({ delayMs: 10, ttlMs: 5 })).toEqual({ deliverAtMs: 1_000_010, expiresAtMs: 1_000_015 })
    expect(timesOf({ deliverAtMs: 1_000_001, expiresAtMs: 1_000_002 })).toEqual({
      deliverAtMs: 1_000_001,
      expiresAtMs: 1_000_002,
    })
  })

  it('are those of any other message when the delivery is now, or was', () => {
    for (const fields of [{}, { delayMs: 0 }, { deliverAtMs: 1_000_000 }, { deliverAtMs: 0 }]) {
      expect(timesOf({ ...fields, expiresAtMs: 7 })).toEqual({ deliverAtMs: undefined, expiresAtMs: 7 })
    }
  })

  it('may lie 366 days ahead, and no further', () => {
    expect(timesOf({ delayMs: 366 * dayMs }).deliverAtMs).toBe(1_000_000 + 366 * dayMs)
    const code = expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' })
    expect(() => timesOf({ delayMs: 366 * dayMs + 2 })).toThrow(code)
    expect(() => timesOf({ deliverAtMs: 1_000_002 + 366 * dayMs })).toThrow(code)
    expect(() => timesOf({ delayMs: 10, expiresAtMs: 1_000_010 })).toThrow(code)
  })
})

describe('the headers of scheduled messages', () => {
  it('come back as they were', () => {
    const topicId = '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20'
    for (const kind of ['message', 'cancel'] as const) {
      for (const [partition, order] of [
        [-1, -1],
        [0, 0],
        [65_535, 2 ** 52],
      ]) {
        const header = { kind, topicId, partition, order }
        expect(decodeScheduleHeader(encodeScheduleHeader(header))).toEqual(header)
      }
    }
    for (const number of [0, 1, 2 ** 52]) expect(int64Of(int64Value(number))).toBe(number)
  })

  it('of another kind or length are none', () => {
    const bytes = encodeScheduleHeader({
      kind: 'message',
      topicId: '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20',
      partition: 0,
      order: 0,
    })
    expect(decodeScheduleHeader(bytes.subarray(1))).toBeUndefined()
    bytes[0] = 3
    expect(decodeScheduleHeader(bytes)).toBeUndefined()
    expect(int64Of(new Uint8Array(7))).toBeUndefined()
  })
})
