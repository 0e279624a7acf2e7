import { once } from 'node:events'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { PushResponse } from './push-response.ts'

/** A response to a reader who has not read yet. */
async function response(): Promise<{ response: ServerResponse; reader: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const reader = connect((server.address() as AddressInfo).port, '127.0.0.1')
  reader.on('error', () => undefined).write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  const [, answer] = await once(server, 'request')
  onTestFinished(() => {
    reader.destroy()
    server.close()
  })
  return { response: answer, reader }
}

function push(to: ServerResponse, clock = new ManualClock()): PushResponse {
  return new PushResponse(to, { clock, intervalMs: 1_000, sign: ':' })
}

async function readAll(reader: Socket): Promise<string> {
  let text = ''
  for await (const chunk of reader) text += chunk
  return text
}

describe('PushResponse', () => {
  it('holds back what is sent before it begins, and who sends it', async () => {
    const { response: to, reader } = await response()
    const stream = push(to)
    let taken = false
    const sent = stream.send('early')
    expect(sent).toBeInstanceOf(Promise)
    void sent?.then(() => {
      taken = true
    })
    await new Promise(setImmediate)
    expect(taken).toBe(false)
    stream.begin({ 'content-type': 'text/x' }, 'first ')
    await sent
    stream.end(' last')
    stream.end('never')
    expect(stream.send('never')).toBeUndefined()
    const text = await readAll(reader)
    expect(text.replaceAll(/[0-9a-f]+\r\n|\r\n/g, '')).toMatch(/first early last$/)
  })

  it('ends at once when it was ended before it began', async () => {
    const { response: to, reader } = await response()
    const clock = new ManualClock()
    const stream = push(to, clock)
    stream.end('reason')
    stream.begin({}, '')
    expect(await readAll(reader)).toMatch(/reason/)
    expect(clock.pending).toBe(0)
  })

  it('makes senders wait for a slow reader, of any size of chunk, and lets them go when he leaves', async () => {
    for (const size of [1_000, 65_500, 65_536, 300_000]) {
      const { response: to, reader } = await response()
      reader.pause()
      const stream = push(to)
      stream.begin({}, '')
      const chunk = Buffer.alloc(size)
      let waiting: Promise<void> | undefined
      for (let i = 0; waiting === undefined || (await settled(waiting)); i++) {
        expect(i * size).toBeLessThan(64 * 1024 * 1024)
        waiting = stream.send(new Uint8Array(57), chunk)
      }
      reader.destroy()
      await waiting
      expect(stream.send('more')).toBeUndefined()
    }
  })

  it('lets senders go whose turn on a pipelined connection never came', async () => {
    const to = new ServerResponse(new IncomingMessage(new Socket()))
    const stream = push(to)
    stream.begin({}, '')
    const waiting = stream.send(Buffer.alloc(1_000_000))
    expect(waiting).toBeInstanceOf(Promise)
    to.emit('close')
    await waiting
  })

  it('keeps no timer for a reader who has left before it began', async () => {
    const { response: to, reader } = await response()
    const clock = new ManualClock()
    const stream = push(to, clock)
    reader.destroy()
    await once(to, 'close')
    stream.begin({}, 'x')
    expect(clock.pending).toBe(0)
  })

  it('makes no sign of life while the reader is slow', async () => {
    const { response: to, reader } = await response()
    reader.pause()
    const clock = new ManualClock()
    const stream = push(to, clock)
    stream.begin({}, '')
    let waiting = stream.send(Buffer.alloc(1_000_000))
    while (waiting === undefined || (await settled(waiting))) waiting = stream.send(Buffer.alloc(1_000_000))
    const write = vi.spyOn(to, 'write')
    await clock.advance(10_000)
    expect(write).not.toHaveBeenCalled()
    expect(clock.pending).toBe(1)
  })
})

/** Whether a promise settles within some turns of the event loop. */
async function settled(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  for (let i = 0; i < 20 && !done; i++) await new Promise(setImmediate)
  return done
}
