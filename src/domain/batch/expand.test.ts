import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { BatchBuilder } from './builder.ts'
import { utf8Text } from './bytes.ts'
import { uncompressedBatches } from './expand.ts'
import { batchStarts, compressionOf, crcOf, crcStart, stampBatch } from './header.ts'
import { messagesOf } from './messages.ts'

const gzip = {
  id: 1,
  compress: (bytes: Uint8Array): Uint8Array => gzipSync(bytes),
  decompress: (bytes: Uint8Array): Uint8Array => gunzipSync(bytes),
}
const expansion = { codecs: new Map([[1, gzip]]), bytesMax: 1_000_000 }
const source = { topic: 't', topicId: '00000000-0000-4000-8000-000000000000', partition: 0, expansion }

function batchOf(texts: readonly string[], compressed: boolean, baseOffset: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c, compression: compressed ? gzip : undefined })
  for (const text of texts) builder.add({ payload: new TextEncoder().encode(text), timestampMs: baseOffset })
  const batch = builder.build()
  stampBatch(batch, baseOffset, 3)
  return batch
}

const seen = (bytes: Uint8Array) =>
  [...messagesOf(bytes, source)].map((m) => [m.offset, m.timestampMs, utf8Text(m.payload)])

describe('uncompressedBatches', () => {
  it('keeps every message and gives valid batches that need no codec', () => {
    const batches = fc.array(fc.tuple(fc.array(fc.string(), { minLength: 1, maxLength: 4 }), fc.boolean()), {
      minLength: 1,
      maxLength: 4,
    })
    fc.assert(
      fc.property(batches, (list) => {
        let offset = 100
        const parts = list.map(([texts, compressed]) => {
          const batch = batchOf(texts, compressed, offset)
          offset += texts.length
          return batch
        })
        const before = Buffer.concat(parts)
        const after = uncompressedBatches(before, expansion, portableCrc32c)
        expect(seen(after)).toEqual(seen(before))
        const starts = [...batchStarts(after), after.length]
        expect(starts).toHaveLength(list.length + 1)
        for (let i = 0; i < list.length; i++) {
          expect(compressionOf(after, starts[i])).toBe(0)
          expect(crcOf(after, starts[i])).toBe(
            portableCrc32c(after.subarray(starts[i] + crcStart, starts[i + 1])),
          )
        }
      }),
    )
  })

  it('hands on what is not compressed, without a copy', () => {
    const batch = batchOf(['a', 'b'], false, 0)
    expect(uncompressedBatches(batch, expansion, portableCrc32c)).toBe(batch)
  })

  it('refuses a codec that is not there', () => {
    const none = { codecs: new Map(), bytesMax: 1_000 }
    expect(() => uncompressedBatches(batchOf(['a'], true, 0), none, portableCrc32c)).toThrow('gzip')
  })
})
