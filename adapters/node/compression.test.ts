import fc from 'fast-check'
import { type CompressionCodec, isRatatoskrError } from 'ratatoskr/ports'
import { compressSync } from 'snappy'
import { describe, expect, it } from 'vitest'
import { nodeCompression } from './compression.ts'

const codecs = nodeCompression()
const codecOf = (id: number): CompressionCodec => codecs.get(id) as CompressionCodec
const text = (repeat: number): Uint8Array =>
  new TextEncoder().encode('a line of a log that repeats\n'.repeat(repeat))

const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    return isRatatoskrError(error) ? error.code : String(error)
  }
  return 'nothing thrown'
}

describe.each([
  [1, 'gzip'],
  [2, 'snappy'],
  [4, 'zstd'],
])('codec %i, %s', (id, name) => {
  const codec = codecOf(id)

  it('has its name and number', () => {
    expect([codec.id, codec.name]).toEqual([id, name])
  })

  it('gives back what it was given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (bytes) => {
        expect(Buffer.compare(codec.decompress(codec.compress(bytes), 2_000), bytes)).toBe(0)
      }),
    )
  })

  it('gives back 1 MiB, smaller on the way', () => {
    const bytes = text(36_200)
    const compressed = codec.compress(bytes)
    expect(compressed.length).toBeLessThan(bytes.length / 4)
    expect(Buffer.compare(codec.decompress(compressed, bytes.length), bytes)).toBe(0)
  })

  it('refuses to expand beyond the bound', () => {
    const compressed = codec.compress(text(1_000))
    expect(codeOf(() => codec.decompress(compressed, 28_999))).toBe('RTK_BATCH_TOO_LARGE')
    expect(codec.decompress(compressed, 29_000)).toHaveLength(29_000)
  })

  it('refuses what is cut off or something else', () => {
    const compressed = codec.compress(text(1_000))
    for (const length of [0, 1, 3, compressed.length >> 1, compressed.length - 1]) {
      expect(codeOf(() => codec.decompress(compressed.subarray(0, length), 1e6))).toBe('RTK_BATCH_MALFORMED')
    }
    expect(codeOf(() => codec.decompress(new Uint8Array(64).fill(0x41), 1e6))).toBe('RTK_BATCH_MALFORMED')
  })

  it('answers changed bytes with a coded error or with bytes within the bound', () => {
    const compressed = codec.compress(text(200))
    fc.assert(
      fc.property(fc.nat(compressed.length - 1), fc.nat(255), (at, byte) => {
        const changed = compressed.slice()
        changed[at] = byte
        try {
          expect(codec.decompress(changed, 10_000).length).toBeLessThanOrEqual(10_000)
        } catch (error) {
          expect(['RTK_BATCH_MALFORMED', 'RTK_BATCH_TOO_LARGE']).toContain((error as { code: string }).code)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('snappy', () => {
  const snappy = codecOf(2)

  it('is left out where its package is not installed', () => {
    expect([...nodeCompression(undefined, () => false).keys()].sort()).toEqual([1, 4])
    const broken = nodeCompression(
      () => undefined,
      () => true,
    ).get(2)
    expect(codeOf(() => broken?.compress(text(1)))).toBe('RTK_COMPRESSION_UNAVAILABLE')
  })

  it("writes the stream that Java's client reads: header, then blocks of at most 32 KiB", () => {
    const bytes = text(3_000)
    const stream = snappy.compress(bytes)
    const view = new DataView(stream.buffer, stream.byteOffset, stream.length)
    expect(Buffer.from(stream.subarray(0, 16)).toString('hex')).toBe('82534e41505059000000000100000001')
    let blocks = 0
    let at = 16
    for (; at < stream.length; at += 4 + view.getInt32(at)) blocks++
    expect(at).toBe(stream.length)
    expect(blocks).toBe(Math.ceil(bytes.length / 32_768))
  })

  it('reads bare blocks, as other clients write them', () => {
    const bytes = text(100)
    expect(Buffer.compare(snappy.decompress(compressSync(bytes), 1e6), bytes)).toBe(0)
  })

  it('reads streams that were joined', () => {
    const joined = Buffer.concat([snappy.compress(text(1)), snappy.compress(text(2))])
    expect(Buffer.compare(snappy.decompress(joined, 1e6), text(3))).toBe(0)
  })

  it('allocates nothing for a block that claims gigabytes', () => {
    const claim = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0)
    expect(codeOf(() => snappy.decompress(claim, 1e6))).toBe('RTK_BATCH_TOO_LARGE')
  })

  it('refuses blocks that lead out of the stream', () => {
    const stream = snappy.compress(text(10))
    const wrong = stream.slice()
    wrong[16] = 0x7f
    expect(codeOf(() => snappy.decompress(wrong, 1e6))).toBe('RTK_BATCH_MALFORMED')
    expect(codeOf(() => snappy.decompress(stream.subarray(0, 18), 1e6))).toBe('RTK_BATCH_MALFORMED')
  })
})
