import { expect, it } from 'vitest'
import { InFlight } from './in-flight.ts'

const settles = async (promise: Promise<unknown> | undefined): Promise<boolean> =>
  Promise.race([
    Promise.resolve(promise).then(() => true),
    new Promise<boolean>((no) => setImmediate(no, false)),
  ])

it('waits when so many are under way, until half of them are done', async () => {
  const inFlight = new InFlight(4)
  for (let i = 0; i < 3; i++) inFlight.begun()
  expect(inFlight.ready()).toBeUndefined()
  inFlight.begun()
  const room = inFlight.ready()
  inFlight.done()
  expect(await settles(room)).toBe(false)
  inFlight.done()
  expect(await settles(room)).toBe(true)
  const none = inFlight.flush()
  inFlight.done()
  expect(await settles(none)).toBe(false)
  inFlight.done()
  expect(await settles(none)).toBe(true)
})

it('tells the next who waits of a failure', async () => {
  const inFlight = new InFlight(4)
  inFlight.add(Promise.resolve())
  inFlight.add(Promise.reject(new Error('refused')))
  await expect(inFlight.flush()).rejects.toThrow('refused')
  await expect(inFlight.ready()).rejects.toThrow('refused')
})
