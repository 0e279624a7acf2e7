import fc from 'fast-check'
import { binarySubprotocol, encodeProduced, jsonSubprotocol } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { bareHandshake } from './testing/raw-client.ts'
import { type Rig, startRig } from './testing/rig.ts'

/** The broker serves others as before, and has stored nothing. */
async function goesOn({ client, broker }: Rig): Promise<void> {
  const other = await client()
  expect(await other.ask('ping')).toEqual({})
  expect(await broker.listTopics()).toEqual([])
  await other.close()
}

const deep = (levels: number): string => `{"op":"ping","id":1,"x":${'['.repeat(levels)}${']'.repeat(levels)}}`

const produced = encodeProduced(1, { partition: 0, baseOffset: 0, recordCount: 1, durability: 'os' })

describe('a frame that cannot be read ends its connection with an error and the fitting code', () => {
  it.each<[string, string | Uint8Array, number, string]>([
    ['no JSON', '{"op":', 1007, 'not JSON'],
    ['nothing', '', 1007, 'not JSON'],
    ['JSON that nests too deep', deep(40), 1007, '32 levels'],
    ['a depth bomb', '['.repeat(1_000_000), 1007, '32 levels'],
    ['a list', '[]', 1002, 'a request is'],
    ['null', 'null', 1002, 'a request is'],
    ['no op', '{"id":1}', 1002, 'a request is'],
    ['an op that is no string', '{"op":1,"id":1}', 1002, 'a request is'],
    ['an id that is no number', '{"op":"ping","id":"1"}', 1002, 'a request is'],
    ['an id out of range', '{"op":"ping","id":4294967296}', 1002, 'a request is'],
    ['a negative id', '{"op":"ping","id":-1}', 1002, 'a request is'],
    ['no id where one is needed', '{"op":"listTopics"}', 1002, 'needs an id'],
    ['bytes in the text protocol', Uint8Array.of(1, 2, 3), 1003, binarySubprotocol],
  ])('%s', async (_, frame, code, message) => {
    const rig = await startRig()
    for (const first of [true, false]) {
      const raw = await rig.client()
      if (!first) await raw.ask('ping')
      raw.send(frame)
      raw.say({ op: 'createTopic', id: 9, topic: 'behind' })
      const { error } = await raw.takeEvent('error')
      expect(error).toMatchObject({ code: 'RTK_FRAME_MALFORMED', retryable: false })
      expect((error as { message: string }).message).toContain(message)
      expect(await raw.closed).toEqual({ code, reason: 'RTK_FRAME_MALFORMED' })
    }
    await goesOn(rig)
  })

  it.each<[string, Uint8Array, string]>([
    ['a binary frame without a whole header', Uint8Array.of(1), '32 bytes'],
    ['a binary frame of an unknown kind', new Uint8Array(32).fill(77, 0, 1), 'kind 77'],
    ['a binary frame that only brokers send', produced, 'clients do not send'],
  ])('%s', async (_, frame, message) => {
    const rig = await startRig()
    const raw = await rig.client(binarySubprotocol)
    raw.send(frame)
    const { error } = await raw.takeEvent('error')
    expect((error as { message: string }).message).toContain(message)
    expect((await raw.closed).code).toBe(1002)
    await goesOn(rig)
  })

  it('a message above the bound: 1009', async () => {
    const rig = await startRig({ transport: { frameBytesMax: 1_000 } })
    const raw = await rig.client()
    expect(await raw.ask('ping')).toEqual({})
    raw.send('x'.repeat(1_001))
    expect((await raw.closed).code).toBe(1009)
    await goesOn(rig)
  })

  it('text that is not UTF-8: 1007', async () => {
    const rig = await startRig()
    const raw = await rig.client()
    raw.ws.send(Uint8Array.of(0x22, 0xff, 0x22), { binary: false })
    expect((await raw.closed).code).toBe(1007)
    await goesOn(rig)
  })

  it('fields called __proto__ are unknown fields and change no object', async () => {
    const rig = await startRig()
    const raw = await rig.client()
    raw.send('{"op":"topicExists","id":1,"topic":"orders","__proto__":{"admin":true}}')
    const { error } = await raw.take()
    expect(error).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
    await goesOn(rig)
  })

  it('a notification that cannot be read is told, and the connection goes on', async () => {
    const { client } = await startRig()
    const raw = await client()
    raw.say({ op: 'credit', subscription: 1, mesages: 5 })
    expect(await raw.takeEvent('error')).toMatchObject({ error: { code: 'RTK_INVALID_ARGUMENT' } })
    expect(await raw.ask('ping')).toEqual({})
  })

  it('any bytes on the socket, in either protocol, do no harm', async () => {
    const rig = await startRig()
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(chunks, fc.boolean(), fc.boolean(), async (list, text, framed) => {
        const protocol = text ? jsonSubprotocol : binarySubprotocol
        const { socket } = await bareHandshake(rig.port, { 'sec-websocket-protocol': protocol })
        for (const bytes of list) {
          // A frame with a zero mask, so that what is inside reaches the protocol's own reader.
          socket.write(
            framed ? Buffer.from([text ? 0x81 : 0x82, 0x80 | bytes.length, 0, 0, 0, 0, ...bytes]) : bytes,
          )
        }
        socket.end()
        socket.resume()
        await new Promise((resolve) => socket.once('close', resolve))
      }),
      { numRuns: 200 },
    )
    await goesOn(rig)
  })
})
