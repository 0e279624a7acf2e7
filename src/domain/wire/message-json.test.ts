import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../batch/bytes.ts'
import { isRatatoskrError, RatatoskrError } from '../errors.ts'
import type { Header, Message } from '../message.ts'
import {
  bytesFromJson,
  errorFromJson,
  errorToJson,
  messageFromJson,
  messageToJson,
  type payloadEncodings,
} from './message-json.ts'

const bytes = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.string().map(utf8), fc.json().map(utf8))
// Names like "7" are left out: JavaScript objects put them first, so that only the order of one name's values is kept.
const names = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'a', 'é\u{1F600}'),
  fc.string({ minLength: 1 }),
)
const headers = fc.array(fc.tuple(names, bytes), { maxLength: 6 })

const messageOf = (fields: Partial<Message>): Message => ({
  id: '3f0c0000-0000-4000-8000-000000000000',
  topic: 'orders',
  partition: 2,
  offset: 7,
  timestampMs: 1_700_000_000_000,
  expiresAtMs: undefined,
  key: undefined,
  headers: [],
  payload: new Uint8Array(0),
  ...fields,
})

/** Through the text, as a wire does it. */
const overTheWire = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

function outgoingAgain(message: Message, encoding: (typeof payloadEncodings)[number]) {
  const { id, key, headers, payload, timestamp, partition } = overTheWire(
    messageToJson(message, encoding),
  ) as Record<string, unknown>
  return messageFromJson({ id, key, headers, payload, timestamp, partition }, encoding)
}

const byName = (list: readonly Header[] = []): Map<string, Uint8Array[]> => {
  const map = new Map<string, Uint8Array[]>()
  for (const [name, value] of list) map.set(name, [...(map.get(name) ?? []), value])
  return new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe('messages as JSON', () => {
  it('say when they expire, and nothing of it when they do not', () => {
    expect(messageToJson(messageOf({ expiresAtMs: 1_800_000_000_000 }))).toMatchObject({
      expiresAtMs: 1_800_000_000_000,
    })
    expect(messageToJson(messageOf({}))).not.toHaveProperty('expiresAtMs')
    expect(messageFromJson({ payload: '', ttlMs: 5 })).toMatchObject({ ttlMs: 5 })
    expect(messageFromJson({ payload: '', id: null, expiresAtMs: 5 })).toMatchObject({ expiresAtMs: 5 })
    expect(() => messageFromJson({ payload: '', ttlMs: null, expiresAtMs: 5 })).toThrow('ttlMs')
    expect(() => messageFromJson({ payload: '', ttlMs: 0 })).toThrow('ttlMs')
    expect(() => messageFromJson({ payload: '', ttlMs: '5' })).toThrow('ttlMs')
    expect(() => messageFromJson({ payload: '', expiresAtMs: 1.5 })).toThrow('expiresAtMs')
  })

  it('come back with the same bytes, in base64 and utf8', () => {
    fc.assert(
      fc.property(fc.option(bytes, { nil: undefined }), headers, bytes, (key, list, payload) => {
        for (const encoding of ['base64', 'utf8'] as const) {
          const message = messageOf({ key, headers: list, payload })
          const again = outgoingAgain(message, encoding)
          expect(again.key).toEqual(key)
          expect(again.payload).toEqual(payload)
          expect(byName(again.headers)).toEqual(byName(list))
          expect(again).toMatchObject({ id: message.id, timestampMs: message.timestampMs, partition: 2 })
        }
      }),
    )
  })

  it('come back with the same value in json, and with the same bytes where they are no JSON', () => {
    fc.assert(
      fc.property(bytes, (payload) => {
        const again = outgoingAgain(messageOf({ payload }), 'json').payload
        let value: unknown
        try {
          value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload))
        } catch {
          expect(again).toEqual(payload)
          return
        }
        expect(JSON.parse(new TextDecoder().decode(again))).toEqual(overTheWire(value))
      }),
    )
  })

  it('has the documented shape', () => {
    const message = messageOf({
      key: utf8('customer-7'),
      headers: [
        ['trace', utf8('a')],
        ['trace', Uint8Array.of(0xff)],
        ['__proto__', utf8('x')],
      ],
      payload: utf8('{"n":1}'),
    })
    expect(JSON.stringify(messageToJson(message, 'json'))).toBe(
      '{"id":"3f0c0000-0000-4000-8000-000000000000","topic":"orders","partition":2,"offset":7,' +
        '"timestamp":1700000000000,"key":"customer-7",' +
        '"headers":{"trace":["a",{"base64":"/w=="}],"__proto__":"x"},"payload":{"n":1}}',
    )
    expect(messageToJson(message).payload).toBe('eyJuIjoxfQ==')
    expect(messageToJson(message, 'utf8').payload).toBe('{"n":1}')
    expect(messageToJson(messageOf({})).key).toBeNull()
  })

  it('never confuses a document that looks like base64 with bytes', () => {
    const payload = utf8('{"base64":"AAAA"}')
    expect(messageToJson(messageOf({ payload }), 'json').payload).toEqual({
      base64: 'eyJiYXNlNjQiOiJBQUFBIn0=',
    })
    expect(outgoingAgain(messageOf({ payload }), 'json').payload).toEqual(payload)
  })

  it('keeps a byte order mark, and gives payloads too deep to walk as bytes', () => {
    const mark = Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)
    expect(outgoingAgain(messageOf({ key: mark, payload: mark }), 'utf8')).toMatchObject({
      key: mark,
      payload: mark,
    })
    const bomb = utf8('['.repeat(100_000) + ']'.repeat(100_000))
    expect(messageToJson(messageOf({ payload: bomb }), 'json').payload).toHaveProperty('base64')
  })

  it.each([
    [{}, 'base64', 'message.payload is missing'],
    [{ payload: 'not base64!' }, 'base64', 'message.payload must be padded base64'],
    [{ payload: null }, 'base64', 'message.payload must be a string, got null'],
    [{ payload: 5 }, 'utf8', 'message.payload must be a string, got 5'],
    [{ payload: '\ud800' }, 'utf8', 'surrogate'],
    [{}, 'json', 'message.payload is missing'],
    [{ payload: '', key: 5 }, 'utf8', 'message.key must be a string or { "base64": "…" }, got 5'],
    [{ payload: '', key: { base64: 'A' } }, 'utf8', 'message.key.base64 must be padded base64'],
    [{ payload: '', key: { base64: 'AAAA', x: 1 } }, 'utf8', 'unknown field "message.key.x"'],
    [{ payload: '', headers: { a: ['x', 5] } }, 'utf8', 'message.headers.a[1] must be a string'],
    [{ payload: '', headers: [] }, 'utf8', 'message.headers must be an object, got a list'],
    [{ payload: '', id: 5 }, 'utf8', 'message.id must be a string'],
    [{ payload: '', timestamp: -1 }, 'utf8', 'message.timestamp must be a whole number'],
    [{ payload: '', partition: 0.5 }, 'utf8', 'message.partition must be a whole number'],
    [{ payload: '', paylod: '' }, 'utf8', 'did you mean payload?'],
    ['text', 'utf8', 'message must be an object, got "text"'],
  ] as const)('refuses %j as %s', (value, encoding, message) => {
    expect(() => messageFromJson(value, encoding)).toThrow(message)
    try {
      messageFromJson(value, encoding)
    } catch (error) {
      expect(isRatatoskrError(error, 'RTK_INVALID_ARGUMENT')).toBe(true)
    }
  })

  it('takes keys of text and of base64', () => {
    expect(bytesFromJson('é', 'key')).toEqual(utf8('é'))
    expect(bytesFromJson({ base64: '/w==' }, 'key')).toEqual(Uint8Array.of(255))
    expect(() => bytesFromJson([], 'key')).toThrow('key must be a string or')
  })
})

describe('errors as JSON', () => {
  it('come back with code, message and details, and nothing else leaves', () => {
    const error = new RatatoskrError('RTK_OVERLOADED', 'too much', {
      cause: new Error('secret'),
      details: { queued: 5, partition: null },
    })
    const json = errorToJson(error)
    expect(json).toEqual({
      code: 'RTK_OVERLOADED',
      message: 'too much',
      retryable: true,
      details: { queued: 5, partition: null },
    })
    const again = errorFromJson(overTheWire(json))
    expect(again).toMatchObject({ code: 'RTK_OVERLOADED', message: 'too much', details: error.details })
    expect(again.retryable).toBe(true)
  })

  it('keeps what it does not know within bounds', () => {
    const error = errorFromJson(JSON.parse('{"code":"RTK_NEW","details":{"a":{},"__proto__":"x","b":true}}'))
    expect(error.code).toBe('RTK_INTERNAL')
    expect(error.details).toEqual({ b: true, code: 'RTK_NEW' })
    expect(error.message).toContain('without a message')
  })
})
