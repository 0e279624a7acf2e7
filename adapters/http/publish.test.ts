import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { batchOf } from './testing/batches.ts'
import { base64, messagesIn, type Rig, type RigOptions, startRig } from './testing/rig.ts'

const path = '/v1/topics/orders/messages'

async function rigWithOrders(options?: RigOptions): Promise<Rig> {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 2 })
  return rig
}

const only = async ({ call }: Rig, partition = 0, encoding = 'base64') =>
  messagesIn(await call('GET', `${path}?partition=${partition}&encoding=${encoding}`))

describe('publishing raw bodies', () => {
  it('takes key, id and headers from the request headers', async () => {
    const rig = await rigWithOrders()
    const id = '4b3c6f0e-1d2a-4c5b-8e9f-0a1b2c3d4e5f'
    const receipt = await rig.call('POST', `${path}?partition=1`, 'hello', {
      'content-type': 'text/plain',
      'ratatoskr-id': id,
      'ratatoskr-key': 'customer-7',
      'ratatoskr-header-source': 'web',
      'ratatoskr-header-trace': 'abc',
    })
    expect([receipt.status, receipt.json]).toEqual([
      200,
      { id, partition: 1, offset: 0, durability: 'memory' },
    ])
    expect(await only(rig, 1)).toEqual([
      {
        id,
        topic: 'orders',
        partition: 1,
        offset: 0,
        timestamp: expect.any(Number),
        key: 'customer-7',
        headers: { source: 'web', trace: 'abc' },
        payload: base64('hello'),
      },
    ])
  })

  it('takes when it expires from the request headers', async () => {
    const rig = await rigWithOrders()
    const at = `${path}?partition=0`
    const expiresAtMs = Date.now() + 60_000
    expect((await rig.call('POST', at, 'a', { 'ratatoskr-expires-at': `${expiresAtMs}` })).status).toBe(200)
    expect((await rig.call('POST', at, 'b', { 'ratatoskr-ttl-ms': '60000' })).status).toBe(200)
    expect((await rig.call('POST', at, 'c', { 'ratatoskr-expires-at': '1' })).status).toBe(200)
    const [a, b, ...rest] = await only(rig)
    expect([a.expiresAtMs, rest]).toEqual([expiresAtMs, []])
    expect(Math.abs(Number(b.expiresAtMs) - expiresAtMs)).toBeLessThan(30_000)
    const refusals: readonly Record<string, string>[] = [
      { 'ratatoskr-ttl-ms': '0' },
      { 'ratatoskr-ttl-ms': '5s' },
      { 'ratatoskr-ttl-ms': '-1' },
      { 'ratatoskr-expires-at': 'tomorrow' },
      { 'ratatoskr-expires-at': '9000000000000000' },
      { 'ratatoskr-ttl-ms': '5', 'ratatoskr-expires-at': `${expiresAtMs}` },
    ]
    for (const headers of refusals) {
      const refused = await rig.call('POST', at, 'x', headers)
      expect([refused.status, refused.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    }
  })

  it('takes when it expires from JSON, one message or many', async () => {
    const rig = await rigWithOrders()
    const at = `${path}?partition=0`
    expect((await rig.call('POST', at, { payload: '', ttlMs: 60_000 })).status).toBe(200)
    const messages = [
      { payload: '', expiresAtMs: 4e12, id: null },
      { payload: '', ttlMs: 5, expiresAtMs: 5 },
    ]
    const { json } = await rig.call('POST', at, { messages })
    expect(json).toMatchObject({ results: [{ offset: 1 }, { error: { code: 'RTK_INVALID_ARGUMENT' } }] })
    expect((await only(rig)).map(({ expiresAtMs }) => typeof expiresAtMs)).toEqual(['number', 'number'])
    for (const ttlMs of ['60000', null]) {
      expect((await rig.call('POST', at, { payload: '', ttlMs })).status).toBe(400)
    }
  })

  it('keeps UTF-8 of headers as it was sent', async () => {
    const rig = await rigWithOrders()
    const head = [
      `POST ${path}?partition=0 HTTP/1.1`,
      'host: localhost',
      'connection: close',
      'content-length: 0',
    ]
    const sent = `${head.join('\r\n')}\r\nratatoskr-key: käse\r\nratatoskr-header-city: Århus\r\n\r\n`
    expect(await rig.raw(Buffer.from(sent, 'utf8'))).toMatch(/^HTTP\/1.1 200/)
    expect(await only(rig)).toMatchObject([{ key: 'käse', headers: { city: 'Århus' }, payload: '' }])
  })

  it('carries any bytes, with and without a content type', async () => {
    const rig = await rigWithOrders()
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom('text/plain', 'application/octet-stream', 'image/png; q=1', undefined),
        async (bytes, type) => {
          const sent = await rig.call(
            'POST',
            `${path}?partition=0`,
            bytes,
            type === undefined ? {} : { 'content-type': type },
          )
          const [message] = messagesIn(await rig.call('GET', `${path}?offset=${sent.json.offset}`))
          expect(message.payload).toBe(base64(bytes))
        },
      ),
      { numRuns: 50 },
    )
  })

  it.each([
    ['text/plain', 'x', 'ratatoskr-foo', '1', 'ratatoskr-foo'],
    ['text/plain', 'x', 'ratatoskr-ttl', '5', 'did you mean ratatoskr-'],
    ['text/plain', 'x', 'ratatoskr-partition', '1', 'is no request header of a publish'],
    ['text/plain', 'x', 'ratatoskr-ttl-ms', 'soon', 'ratatoskr-ttl-ms'],
    ['application/json', '{"payload":""}', 'ratatoskr-key', 'k', 'goes with a raw body'],
    ['application/json', '{"messages":[]}', 'ratatoskr-header-a', 'b', 'goes with a raw body'],
  ])('of %s %s refuses the header %s: %s', async (type, body, name, value, says) => {
    const rig = await rigWithOrders()
    const answer = await rig.call('POST', path, body, { 'content-type': type, [name]: value })
    expect([answer.status, answer.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    expect(answer.text).toContain(says)
    expect(await only(rig)).toEqual([])
  })

  it('refuses reserved headers and bad ids, and stores nothing', async () => {
    const rig = await rigWithOrders()
    const reserved = await rig.call('POST', path, 'x', { 'ratatoskr-header-rtk-id': 'mine' })
    expect([reserved.status, reserved.json.code]).toEqual([400, 'RTK_HEADER_INVALID'])
    const bad = await rig.call('POST', path, 'x', { 'ratatoskr-id': 'not-a-uuid' })
    expect([bad.status, bad.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    expect(await only(rig)).toEqual([])
    expect(await only(rig, 1)).toEqual([])
  })

  it('answers 413 above the limits of a message and of a body, with their codes', async () => {
    const limits = { messageBytesMax: 1_000, batchBytesMax: 10_000 }
    const { call } = await rigWithOrders({ limits })
    const message = await call('POST', path, 'x'.repeat(2_000))
    expect([message.status, message.json.code]).toEqual([413, 'RTK_MESSAGE_TOO_LARGE'])
    const body = await call('POST', path, 'x'.repeat(100_000))
    expect([body.status, body.json.code]).toEqual([413, 'RTK_BATCH_TOO_LARGE'])
  })

  it('answers 413 to a chunked body above the limit, too', async () => {
    const { raw } = await rigWithOrders({ limits: { messageBytesMax: 1_000, batchBytesMax: 10_000 } })
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    const answer = await raw(
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(6)}0\r\n\r\n`,
    )
    expect(answer).toMatch(/^HTTP\/1.1 413 .*RTK_BATCH_TOO_LARGE/s)
  })
})

describe('publishing JSON', () => {
  it.each([
    ['base64', base64('{"a":1}')],
    ['utf8', '{"a":1}'],
    ['json', { a: 1 }],
  ])('takes and gives %s', async (encoding, payload) => {
    const rig = await rigWithOrders()
    const sent = await rig.call('POST', `${path}?partition=0&encoding=${encoding}`, {
      payload,
      key: { base64: base64(Uint8Array.of(0xff, 0)) },
      headers: { plain: 'text', bytes: { base64: base64(Uint8Array.of(0xfe)) }, many: ['a', 'b'] },
      timestamp: 1_700_000_000_000,
    })
    expect(sent.status).toBe(200)
    const [message] = await only(rig, 0, encoding)
    expect(message).toMatchObject({
      payload,
      key: { base64: '/wA=' },
      headers: { plain: 'text', bytes: { base64: '/g==' }, many: ['a', 'b'] },
      timestamp: 1_700_000_000_000,
    })
    const [asBytes] = await only(rig, 0)
    expect(asBytes.payload).toBe(base64('{"a":1}'))
  })

  it('gives bytes that an encoding cannot show as base64', async () => {
    const rig = await rigWithOrders()
    await rig.call('POST', `${path}?partition=0`, Uint8Array.of(0xff, 0xfe))
    for (const encoding of ['utf8', 'json'])
      expect(await only(rig, 0, encoding)).toMatchObject([{ payload: { base64: '//4=' } }])
  })

  it('distinguishes a missing key from an empty one', async () => {
    const rig = await rigWithOrders()
    for (const key of [null, '', undefined])
      await rig.call('POST', `${path}?partition=0`, { payload: '', key })
    expect((await only(rig)).map(({ key }) => key)).toEqual([null, '', null])
  })

  it('takes many, and says of each what became of it', async () => {
    const { call } = await rigWithOrders({ limits: { messageBytesMax: 100 } })
    const sent = await call('POST', `${path}?partition=1&encoding=utf8`, {
      messages: [
        { payload: 'a' },
        { payload: 'x'.repeat(500) },
        { payload: 'b', partition: 0 },
        { payload: 'c' },
      ],
    })
    expect(sent.status).toBe(200)
    expect(sent.json.results).toEqual([
      { id: expect.any(String), partition: 1, offset: 0, durability: 'memory' },
      { error: expect.objectContaining({ code: 'RTK_MESSAGE_TOO_LARGE', retryable: false }) },
      { id: expect.any(String), partition: 0, offset: 0, durability: 'memory' },
      { id: expect.any(String), partition: 1, offset: 1, durability: 'memory' },
    ])
  })

  it.each([
    ['invalid base64', { payload: 'a' }, /payload must be padded base64/],
    ['an unknown field', { payload: '', paylod: '' }, /unknown field "paylod"/],
    ['a number as key', { payload: '', key: 5 }, /key/],
    [
      'a batch with a bad message',
      { messages: [{ payload: '' }, { payload: '', key: 5 }] },
      /messages.1.key/,
    ],
    ['a batch with bad base64', { messages: [{ payload: '' }, { payload: '?' }] }, /messages\[1\]\.payload/],
    ['a batch and a message at once', { messages: [], payload: '' }, /unknown field/],
    ['text', '"text"', /body must be object/],
    ['nothing', '', /body|message/],
    ['half a surrogate pair', '{"payload":"","key":"\\ud800"}', /surrogate/],
  ])('refuses %s, and stores nothing', async (_what, body, detail) => {
    const rig = await rigWithOrders()
    const answer = await rig.call('POST', `${path}?partition=0`, body, { 'content-type': 'application/json' })
    expect([answer.status, answer.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    expect(answer.json.detail).toMatch(detail)
    expect(await only(rig)).toEqual([])
  })

  it('refuses an unknown query, encoding and durability', async () => {
    const { call } = await rigWithOrders()
    for (const query of ['encoding=hex', 'partiton=1', 'partition=one', 'partition=-1', 'durability=hope']) {
      const answer = await call('POST', `${path}?${query}`, { payload: '' })
      expect([query, answer.json.code]).toEqual([query, 'RTK_INVALID_ARGUMENT'])
    }
    const quorum = await call('POST', `${path}?durability=quorum`, { payload: '' })
    expect([quorum.status, quorum.json.code]).toEqual([501, 'RTK_DURABILITY_UNAVAILABLE'])
  })

  it('refuses JSON that is too deep, and keeps __proto__ as a name like any other', async () => {
    const rig = await rigWithOrders()
    const deep = await rig.call('POST', `${path}?encoding=json`, `{"payload":${'['.repeat(100_000)}`, {
      'content-type': 'application/json',
    })
    expect(deep.json.detail).toMatch(/jsonDepthMax/)
    const sent = await rig.call('POST', `${path}?partition=0`, '{"payload":"","headers":{"__proto__":"x"}}', {
      'content-type': 'application/json; charset=utf-8',
    })
    expect(sent.status).toBe(200)
    const answer = await rig.call('GET', path)
    expect(answer.text).toContain('"headers":{"__proto__":"x"}')
    const polluted = await rig.call('POST', path, '{"payload":"","__proto__":{"key":"x"}}', {
      'content-type': 'application/json',
    })
    expect(polluted.status).toBe(400)
  })
})

describe('publishing record batches', () => {
  const type = { 'content-type': 'application/vnd.ratatoskr.batch' }

  it('stores them as they are', async () => {
    const { call, broker } = await rigWithOrders()
    const sent = await call('POST', `${path}?partition=1`, batchOf(['a', 'b', 'c']), type)
    expect(sent.json).toEqual({ partition: 1, baseOffset: 0, recordCount: 3, durability: 'memory' })
    const { messageCount } = await broker.topicStats('orders')
    expect(messageCount).toBe(3)
    const back = await call('GET', `${path}?partition=1&encoding=utf8`)
    expect(messagesIn(back).map(({ payload }) => payload)).toEqual(['a', 'b', 'c'])
  })

  it('refuses damaged and cut ones, none at all, and none of a partition', async () => {
    const { call } = await rigWithOrders()
    const damaged = batchOf(['a', 'b'])
    damaged[damaged.length - 1] ^= 1
    const code = async (query: string, bytes: Uint8Array) =>
      (await call('POST', path + query, bytes, type)).json.code
    expect(await code('?partition=0', damaged)).toBe('RTK_BATCH_CRC_MISMATCH')
    expect(await code('?partition=0', batchOf(['a']).subarray(0, 40))).toBe('RTK_BATCH_MALFORMED')
    expect(await code('?partition=0', new Uint8Array(0))).toBe('RTK_BATCH_MALFORMED')
    expect(await code('?partition=9', batchOf(['a']))).toBe('RTK_PARTITION_NOT_FOUND')
    expect(await code('', batchOf(['a']))).toBe('RTK_INVALID_ARGUMENT')
  })

  it('refuses a content encoding with 415, and stores nothing', async () => {
    const { call, broker } = await startRig()
    await broker.createTopic('orders', { partitions: 1 })
    const path = '/v1/topics/orders/messages'
    const refused = await call('POST', path, 'x', {
      'content-type': 'text/plain',
      'content-encoding': 'gzip',
    })
    expect([refused.status, refused.json]).toEqual([
      415,
      expect.objectContaining({ status: 415, code: 'RTK_INVALID_ARGUMENT' }),
    ])
    expect(refused.json.detail).toContain('uncompressed')
    expect((await broker.topicStats('orders')).messageCount).toBe(0)
    const plain = { 'content-type': 'text/plain', 'content-encoding': 'identity' }
    expect((await call('POST', path, 'x', plain)).status).toBe(200)
  })
})
