import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  BatchBuilder,
  baseTimestampOf,
  maxTimestampOf,
  messagesOf,
  portableCrc32c,
  producerIdOf,
  utf8,
  verifyBatch,
} from '../../ports/index.ts'
import { defaultLimits } from '../limits.ts'
import { keepRecords } from './cut-batch.ts'

const expansion = { codecs: new Map(), bytesMax: 1_000_000 }
const source = { topic: 't', topicId: '00000000-0000-4000-8000-000000000000', partition: 0, expansion }

it('leaves a whole batch of the records that are kept, as they were', () => {
  const record = fc.record({
    text: fc.string({ maxLength: 200 }),
    keep: fc.boolean(),
    timestampMs: fc.nat(9_000),
  })
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 300 }), (records) => {
      fc.pre(records.some(({ keep }) => keep))
      const builder = new BatchBuilder({ checksum: portableCrc32c })
      for (const { text, timestampMs } of records)
        builder.add({ payload: utf8(text), key: utf8('k'), headers: [['h', utf8(text)]], timestampMs })
      const batch = builder.build({ producerId: 5, epoch: 0, baseSequence: 0 })
      const cut = keepRecords(batch, (index) => records[index].keep, expansion, portableCrc32c)
      const kept = records.filter(({ keep }) => keep)
      const count = verifyBatch(cut, { ...defaultLimits, checksum: portableCrc32c, records: expansion })
      expect(count).toBe(kept.length)
      expect(
        [...messagesOf(cut, source)].map(({ offset, payload, timestampMs, headers }) => [
          offset,
          payload,
          timestampMs,
          headers,
        ]),
      ).toEqual(
        kept.map(({ text, timestampMs }, offset) => [offset, utf8(text), timestampMs, [['h', utf8(text)]]]),
      )
      expect([producerIdOf(cut), baseTimestampOf(cut)]).toEqual([-1, records[0].timestampMs])
      expect(maxTimestampOf(cut)).toBe(Math.max(...kept.map(({ timestampMs }) => timestampMs)))
    }),
    { numRuns: 100 },
  )
})
