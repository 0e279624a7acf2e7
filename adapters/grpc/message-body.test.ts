/** What a request is put together in. */
import { expect, it } from 'vitest'
import { MessageBody } from './message-body.ts'

it('who announces much gets room as it comes', () => {
  const length = 8 * 1024 * 1024
  const body = new MessageBody(length)
  body.push(Buffer.of(0, 0, 0x80, 0, 0))
  expect(body.bytesKept).toBeLessThanOrEqual(4_096)
  for (let came = 10_000; came <= length; came += 10_000) {
    body.push(Buffer.alloc(10_000, 1))
    expect(body.bytesKept).toBeLessThanOrEqual(Math.max(4_096, 4 * came))
  }
  body.push(Buffer.alloc(length % 10_000, 1))
  expect(body.end()).toEqual(Buffer.alloc(length, 1))
})

it('a message that comes in one piece gets the room that it takes', () => {
  const body = new MessageBody(100_000)
  body.push(Buffer.concat([Buffer.of(0, 0, 0, 0x75, 0x30), Buffer.alloc(30_000, 2)]))
  expect(body.bytesKept).toBe(30_000)
  expect(body.end()).toEqual(Buffer.alloc(30_000, 2))
})
