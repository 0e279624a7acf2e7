import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WebSocketSplitter, webSocketHeaderBytes, writeWebSocketHeader } from './websocket.ts'

describe('the header of a frame', () => {
  it.each([
    [0, [0x82, 0]],
    [125, [0x82, 125]],
    [126, [0x82, 126, 0, 126]],
    [65_535, [0x82, 126, 0xff, 0xff]],
    [65_536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
    [100_032, [0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xc0]],
    [5_000_000_000, [0x82, 127, 0, 0, 0, 1, 0x2a, 0x05, 0xf2, 0x00]],
  ])('tells a length of %i', (length, header) => {
    expect([...headerOf(length, false)]).toEqual(header)
    const [first, second, ...rest] = header
    expect([...headerOf(length, true)]).toEqual([first, 0x80 | second, ...rest, 0, 0, 0, 0])
  })

  it('tells text from binary', () => {
    const target = new Uint8Array(2)
    writeWebSocketHeader(target, true, 3, false)
    expect([...target]).toEqual([0x81, 3])
  })
})

function headerOf(length: number, masked: boolean): Uint8Array {
  const target = new Uint8Array(webSocketHeaderBytes(length, masked)).fill(7)
  writeWebSocketHeader(target, false, length, masked)
  return target
}

/** A frame on the wire, and whether it is taken out. */
interface Sent {
  readonly bytes: Uint8Array
  readonly payload: Uint8Array | undefined
}

const payloadBytesMax = 70_000

/** @param mask undefined for a frame that is not masked */
function frame(first: number, mask: readonly number[] | undefined, length: number, fill: number): Uint8Array {
  const header = headerOf(length, mask !== undefined)
  header[0] = first
  if (mask !== undefined) header.set(mask, header.length - 4)
  const bytes = new Uint8Array(header.length + length).fill(fill)
  bytes.set(header)
  return bytes
}

const lengths = fc.oneof(
  fc.nat(300),
  fc.constantFrom(125, 126, 65_535, 65_536, payloadBytesMax, payloadBytesMax + 1),
)
/** What a peer may send that masks its frames so, or not at all. */
function conversationsOf(mask: readonly number[] | undefined): fc.Arbitrary<Sent[][]> {
  const whole = fc.tuple(lengths, fc.nat(255)).map(([length, fill]): Sent[] => {
    const bytes = frame(0x82, mask, length, fill)
    return [{ bytes, payload: length <= payloadBytesMax ? bytes.subarray(bytes.length - length) : undefined }]
  })
  /** A length that would have gone into fewer bytes. */
  const wordy = fc.tuple(fc.nat(300), fc.nat(255)).map(([length, fill]): Sent[] => {
    const bytes = frame(0x82, mask, 65_536, fill).subarray(0, (mask === undefined ? 10 : 14) + length)
    new DataView(bytes.buffer).setUint32(6, length)
    return [{ bytes, payload: bytes.subarray(bytes.length - length) }]
  })
  const other = fc
    .tuple(fc.constantFrom(0x81, 0x89, 0x8a, 0x88, 0xc2, 0x83), fc.nat(125), fc.nat(255))
    .map(([first, length, fill]): Sent[] => [{ bytes: frame(first, mask, length, fill), payload: undefined }])
  /** Two fragments of a message, and between them what may not be taken out: it belongs to nobody there. */
  const fragments = fc.tuple(fc.constantFrom(0x01, 0x02), fc.nat(300)).map(([first, length]): Sent[] => [
    { bytes: frame(first, mask, length, 2), payload: undefined },
    { bytes: frame(0x89, mask, 3, 3), payload: undefined },
    { bytes: frame(0x82, mask, 5, 4), payload: undefined },
    { bytes: frame(0x80, mask, length, 5), payload: undefined },
  ])
  /** What has to be unmasked, or breaks the rules for who sends it. */
  const foreign = fc
    .tuple(fc.nat(2_000), mask === undefined ? fc.nat(255) : fc.integer({ min: 1, max: 255 }))
    .map(([length, key]): Sent[] => [{ bytes: frame(0x82, [0, key, 0, 0], length, 1), payload: undefined }])
  const bare = fc
    .nat(20)
    .map((length): Sent[] => [{ bytes: frame(0x82, undefined, length, 9), payload: undefined }])
  const kinds = mask === undefined ? [] : [bare]
  return fc.array(fc.oneof(whole, whole, wordy, other, foreign, fragments, ...kinds), { maxLength: 12 })
}

const zeros = [0, 0, 0, 0]
const senders = [
  { sender: 'client', mask: zeros },
  { sender: 'server', mask: undefined },
] as const

class Seen {
  readonly payloads: Uint8Array[] = []
  readonly rest: number[] = []
  readonly events = {
    binary: (payload: Uint8Array): void => void this.payloads.push(payload),
    other: (bytes: Uint8Array, borrowed: boolean): void => {
      for (const byte of borrowed ? bytes.slice() : bytes) this.rest.push(byte)
    },
    mayPass: true,
  }
}

describe.each(senders)('what a $sender sends', ({ sender, mask }) => {
  const conversations = conversationsOf(mask)

  it.each(['chunks', 'reads'])('is split into batches and the rest, however its %s fall', (how) => {
    fc.assert(
      fc.property(conversations, fc.infiniteStream(fc.integer({ min: 1, max: 5_000 })), (parts, sizes) => {
        const sent = parts.flat()
        const seen = new Seen()
        const splitter = new WebSocketSplitter(sender, payloadBytesMax, seen.events, (bytes) =>
          new Uint8Array(bytes).fill(6),
        )
        const wire = sent.flatMap(({ bytes }) => [...bytes])
        for (let at = 0; at < wire.length; ) {
          const size: number = Math.min(sizes.next().value as number, wire.length - at)
          if (how === 'chunks') {
            splitter.push(Uint8Array.from(wire.slice(at, at + size)))
            at += size
          } else {
            const into = splitter.buffer()
            const read = Math.min(size, into.length)
            into.set(wire.slice(at, at + read))
            splitter.filled(read)
            at += read
          }
        }
        const batches = sent.flatMap(({ payload }) => (payload === undefined ? [] : [payload]))
        expect(seen.payloads.map((bytes) => Buffer.from(bytes).toString('hex'))).toEqual(
          batches.map((bytes) => Buffer.from(bytes).toString('hex')),
        )
        const rest = sent.flatMap(({ bytes, payload }) => (payload === undefined ? [...bytes] : []))
        expect(Buffer.from(seen.rest).equals(Buffer.from(rest))).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('is split cut at every byte', () => {
    fc.assert(
      fc.property(conversations, (parts) => {
        const sent = parts.flat().filter(({ bytes }) => bytes.length < 1_000)
        const seen = new Seen()
        const splitter = new WebSocketSplitter(sender, payloadBytesMax, seen.events, (bytes) =>
          new Uint8Array(bytes).fill(6),
        )
        for (const { bytes } of sent) for (const byte of bytes) splitter.push(Uint8Array.of(byte))
        const batches = sent.flatMap(({ payload }) => (payload === undefined ? [] : [payload]))
        expect(seen.payloads.map((bytes) => [...bytes])).toEqual(batches.map((bytes) => [...bytes]))
        expect(seen.rest).toEqual(
          sent.flatMap(({ bytes, payload }) => (payload === undefined ? [...bytes] : [])),
        )
      }),
      { numRuns: 30 },
    )
  })

  it('goes on as it came while what came before waits', () => {
    const seen = new Seen()
    const splitter = new WebSocketSplitter(
      sender,
      payloadBytesMax,
      seen.events,
      (bytes) => new Uint8Array(bytes),
    )
    const batch = frame(0x82, mask, 100, 1)
    seen.events.mayPass = false
    splitter.push(batch)
    expect(seen.payloads).toEqual([])
    expect(seen.rest).toEqual([...batch])
    seen.events.mayPass = true
    splitter.push(batch)
    expect(seen.payloads).toEqual([batch.subarray(batch.length - 100)])
  })

  it('takes no room on the word of a length', () => {
    const asked: number[] = []
    const allocate = (bytes: number): Uint8Array => {
      asked.push(bytes)
      return new Uint8Array(bytes)
    }
    const seen = new Seen()
    const splitter = new WebSocketSplitter(sender, 1 << 30, seen.events, allocate)
    splitter.push(headerOf(1 << 30, mask !== undefined))
    splitter.push(new Uint8Array(10))
    expect(asked).toEqual([(1024 + 64) * 1024])
  })
})
