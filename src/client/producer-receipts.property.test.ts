/** That each receipt tells of its own message, however the messages of a batch were given to the producer. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Message, messagesOf, type PublishReceipt, utf8Text } from '../ports/index.ts'
import { rounds } from '../testing/rounds.ts'
import type { BulkReceipt } from './publish-owners.ts'
import { idPattern, setup } from './testing/producing.ts'

const batchBytesMax = 4_096
const given = '3f0c5d5e-8a4b-4c52-9b1e-'

/** `mixed` is a bulk whose maker publishes others between its messages. */
type Way = 'bytes' | 'text' | 'keyed' | 'withId' | 'many' | 'bulk' | 'mixed'
const ways: readonly Way[] = ['bytes', 'text', 'keyed', 'withId', 'many', 'bulk', 'mixed']
interface Step {
  readonly way: Way
  readonly count: number
  /** The loop has a turn afterwards, so that the batch may go. */
  readonly turn: boolean
}

const step: fc.Arbitrary<Step> = fc.record({
  way: fc.constantFrom(...ways),
  count: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 6 }) }, fc.integer({ min: 1, max: 150 })),
  turn: fc.boolean(),
})

it('tells of each message its id and where it is stored', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const { client, broker } = await setup()
      const producer = client.producer({ batchBytesMax, bufferBytesMax: 12_000 })
      await producer.publish('orders', 'so that the topic is known')
      const receipts = new Map<string, PublishReceipt>()
      const bulks: { readonly texts: readonly string[]; readonly receipt: BulkReceipt }[] = []
      const work: Promise<unknown>[] = []
      const told = (text: string, receipt: Promise<PublishReceipt>): void => {
        work.push(receipt.then((value) => receipts.set(text, value)))
      }
      for (const [place, { way, count, turn }] of steps.entries()) {
        const texts = Array.from({ length: count }, (_, i) => `${place}-${i}`)
        if (way === 'many') {
          const all = producer.publishMany(
            'orders',
            texts.map((payload) => ({ payload })),
          )
          for (const [i, text] of texts.entries())
            told(
              text,
              all.then((results) => results[i] as PublishReceipt),
            )
        } else if (way === 'bulk') {
          work.push(
            producer.addAll('orders', payloads(texts)).then((receipt) => bulks.push({ texts, receipt })),
          )
        } else if (way === 'mixed') {
          const single = (text: string): void =>
            told(`${text}-single`, producer.publish('orders', `${text}-single`))
          work.push(
            producer
              .addAll('orders', payloads(texts, single))
              .then((receipt) => bulks.push({ texts, receipt })),
          )
        } else for (const text of texts) told(text, producer.publish('orders', ...argumentsOf(way, text)))
        if (turn) await Promise.resolve()
      }
      await Promise.all(work)
      const { batches } = broker.find('orders').partitions[0]
      const stored = batches.flatMap(({ bytes }) => messages(bytes))
      const byText = new Map(stored.map((message) => [utf8Text(message.payload), message]))
      for (const [text, receipt] of receipts) {
        const { id, offset } = byText.get(text) as Message
        expect(receipt).toEqual({ id, partition: 0, offset, durability: 'memory' })
        expect(id).toMatch(idPattern)
      }
      const sum = (ways: readonly Way[]): number =>
        steps.reduce((total, { way, count }) => total + (ways.includes(way) ? count : 0), 0)
      expect(receipts.size).toBe(sum(['bytes', 'text', 'keyed', 'withId', 'many', 'mixed']))
      for (const { texts, receipt } of bulks) {
        expect(receipt.messageCount).toBe(texts.length)
        for (const text of texts) expect(isWithin(receipt, byText.get(text) as Message)).toBe(true)
      }
      for (const { bytes } of batches) expect(bytes.length).toBeLessThanOrEqual(batchBytesMax)
      expect(stored.length).toBe(1 + sum(ways) + sum(['mixed']))
      expect(producer.bufferedBytes).toBe(0)
      expect(new Set(stored.map(({ id }) => id)).size).toBe(stored.length)
    }),
    { numRuns: rounds(200, 60) },
  )
})

const isWithin = ({ batches }: BulkReceipt, { offset }: Message): boolean =>
  batches.some(({ baseOffset, recordCount }) => offset >= baseOffset && offset < baseOffset + recordCount)

const encoder = new TextEncoder()

function* payloads(texts: readonly string[], between: (text: string) => void = () => {}) {
  for (const text of texts) {
    between(text)
    yield { payload: encoder.encode(text) }
  }
}

function argumentsOf(way: Way, text: string): [payload: string | Uint8Array, options?: object] {
  if (way === 'bytes') return [encoder.encode(text)]
  if (way === 'keyed') return [text, { key: text }]
  const [place, number] = text.split('-').map(Number)
  const last = (place * 1_000 + number).toString(16).padStart(12, '0')
  return way === 'withId' ? [text, { id: given + last }] : [text]
}

const source = {
  topic: 'orders',
  topicId: `${given}000000000000`,
  partition: 0,
  expansion: { codecs: new Map(), bytesMax: 1 << 20 },
}
const messages = (bytes: Uint8Array): Message[] => [...messagesOf(bytes, source)]
