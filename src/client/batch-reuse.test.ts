/** Bytes of batches that were acknowledged are written into again, and no others. */
import { describe, expect, it } from 'vitest'
import { recordCountOf } from '../ports/index.ts'
import type { Link } from './link.ts'
import { error, setup } from './testing/producing.ts'

const batchBytesMax = 128 * 1024
const messageCount = 5_000

/** A batch as it was given to the link, and what it held then. */
interface Given {
  readonly bytes: Uint8Array
  readonly held: Buffer
}

/**
 * Publishes a bulk over a link that answers each batch some turns later, in order.
 * @param refuses true for a batch, by its number, that is refused the first time
 */
async function published(returnsBatches: boolean, refuses: (batch: number) => boolean = () => false) {
  const { client, broker, clock } = await setup()
  const [link] = broker.links
  const given: Given[] = []
  const refused: Given[] = []
  const underWay: (() => void)[] = []
  let baseOffset = 0
  let calls = 0
  const publishBatch: Link['publishBatch'] = (_topic, partition, bytes) => {
    const one: Given = { bytes, held: Buffer.from(bytes) }
    const number = calls++
    return new Promise((resolve, reject) => {
      underWay.push(() => {
        expect(one.held.equals(one.bytes)).toBe(true)
        if (refuses(number)) {
          refused.push(one)
          reject(error('RTK_OVERLOADED'))
          return
        }
        given.push(one)
        const recordCount = recordCountOf(bytes)
        resolve({ partition, baseOffset, recordCount, durability: 'memory' })
        baseOffset += recordCount
      })
    })
  }
  Object.assign(link, { returnsBatches, publishBatch })
  const producer = client.producer({ batchBytesMax, bufferBytesMax: 8 * batchBytesMax, timeoutMs: 600_000 })
  const payload = new Uint8Array(1024)
  function* messages() {
    for (let number = 0; number < messageCount; number++) {
      payload.fill(number)
      yield { payload }
    }
  }
  let done = false
  const publishing = producer.addAll('orders', messages()).finally(() => {
    done = true
  })
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve))
    underWay.shift()?.()
    await clock.advance(100)
  }
  expect((await publishing).messageCount).toBe(messageCount)
  const stored = given.reduce((sum, { held }) => sum + recordCountOf(held), 0)
  expect(stored).toBe(messageCount)
  return { given, refused, buffers: new Set(given.map(({ bytes }) => bytes.buffer)).size }
}

describe('the bytes of a batch', () => {
  it('are written into again when they are acknowledged, over a link that needs them no more', async () => {
    const { given, buffers } = await published(true)
    expect(given.length).toBeGreaterThan(25)
    expect(buffers).toBeLessThan(given.length / 2)
  })

  it('are the broker’s over another link', async () => {
    const { given, buffers } = await published(false)
    expect(buffers).toBe(given.length)
    for (const { bytes, held } of given) expect(held.equals(bytes)).toBe(true)
  })

  it('stay as they are when the batch was refused: it may still lie somewhere', async () => {
    const { refused } = await published(true, (batch) => batch % 7 === 3)
    expect(refused.length).toBeGreaterThan(3)
    for (const { bytes, held } of refused) expect(held.equals(bytes)).toBe(true)
  })
})
