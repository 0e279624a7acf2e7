/** The hand-written codecs read and write the same bytes as the generated ones. */
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ConsumeResponse,
  type Delivery,
  decodeConsumeResponse,
  decodeProduceRequest,
  decodeQueueConsumeResponse,
  frameDelivery,
  frameLeased,
  frameProduceRequest,
  type LeasedBatch,
  messageOf,
  ProduceRequest,
  QueueServiceConsumeResponse,
} from './index.ts'

const safe = fc.oneof(fc.nat(300), fc.maxSafeNat())
const partition = fc.oneof(fc.nat(300), fc.nat(0xffff_ffff))
const bytes = fc.uint8Array({ maxLength: 300 })
const produceRequest: fc.Arbitrary<ProduceRequest> = fc.record({
  correlationId: safe,
  topic: fc.oneof(fc.string(), fc.string({ unit: 'grapheme' })),
  partition,
  durability: fc.constantFrom(0, 1, 2, 3, 4, 5),
  batches: bytes,
  lease: fc.option(
    fc.record({ topic: fc.string(), group: fc.string(), partition, offset: safe, lease: safe }),
    { nil: undefined },
  ),
})
const delivery: fc.Arbitrary<Delivery> = fc.record({
  partition,
  fromOffset: safe,
  nextOffset: safe,
  batches: bytes,
})
const leased: fc.Arbitrary<LeasedBatch> = fc.record({
  partition,
  lease: safe,
  recordCount: partition,
  firstOffset: safe,
  lastOffset: safe,
  attempt: partition,
  redelivered: fc.boolean(),
  leaseMs: safe,
  batches: bytes,
  messages: fc.constant([]),
})
/** Fields of a later version: numbers above ours, each wire type. */
const unknownFields = fc
  .array(fc.tuple(fc.integer({ min: 20, max: 5000 }), fc.constantFrom(0, 1, 2, 5), bytes), { maxLength: 4 })
  .map((fields) => {
    const writer = new BinaryWriter()
    for (const [field, type, value] of fields) {
      writer.tag(field, type)
      if (type === 0) writer.uint64(2 ** 40 + value.length)
      else if (type === 1) writer.fixed64(7)
      else if (type === 2) writer.bytes(value)
      else writer.fixed32(9)
    }
    return writer.finish()
  })

const plain = (value: Uint8Array): number[] => [...value]
const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(parts.flatMap((part) => [...part]))

describe('ProduceRequest', () => {
  it('is written so that the generated code reads it, in no more bytes than its own', () => {
    fc.assert(
      fc.property(produceRequest, (request) => {
        const wire = messageOf(frameProduceRequest(request))
        const generated = ProduceRequest.encode(request).finish()
        expect(ProduceRequest.decode(new Uint8Array(wire))).toEqual(ProduceRequest.decode(generated))
        expect(wire.length).toBe(generated.length)
      }),
    )
  })

  it('is read as the generated code reads it, whatever a later version adds', () => {
    fc.assert(
      fc.property(produceRequest, unknownFields, unknownFields, (request, before, after) => {
        const wire = join(before, ProduceRequest.encode(request).finish(), after)
        expect(decodeProduceRequest(wire)).toEqual(ProduceRequest.decode(wire))
      }),
    )
  })

  it('takes the last of fields that come twice', () => {
    const first = ProduceRequest.encode({
      correlationId: 1,
      topic: 'a',
      partition: 1,
      durability: 1,
      batches: new Uint8Array([1]),
    }).finish()
    const second = ProduceRequest.encode({
      correlationId: 2,
      topic: 'b',
      partition: 2,
      durability: 2,
      batches: new Uint8Array([2]),
    }).finish()
    expect(decodeProduceRequest(join(first, second)).topic).toBe('b')
  })

  it('gives a view, not a copy', () => {
    const frame = frameProduceRequest({
      correlationId: 1,
      topic: 't',
      partition: 0,
      durability: 0,
      batches: new Uint8Array(100).fill(7),
    })
    const wire = messageOf(frame)
    expect(decodeProduceRequest(wire).batches.buffer).toBe(wire.buffer)
  })
})

describe('Delivery', () => {
  it('is written as the generated code writes it', () => {
    fc.assert(
      fc.property(delivery, (value) => {
        expect(plain(messageOf(frameDelivery(value)))).toEqual(
          plain(ConsumeResponse.encode({ delivery: value }).finish()),
        )
      }),
    )
  })

  it('is read as the generated code reads it', () => {
    fc.assert(
      fc.property(delivery, unknownFields, (value, after) => {
        const wire = join(ConsumeResponse.encode({ delivery: value }).finish(), after)
        expect(decodeConsumeResponse(wire).delivery).toEqual(ConsumeResponse.decode(wire).delivery)
      }),
    )
  })

  it('tolerates unknown fields within', () => {
    fc.assert(
      fc.property(delivery, unknownFields, (value, extra) => {
        const whole = ConsumeResponse.encode({ delivery: value }).finish()
        const inner = join(decodeBody(whole), extra)
        const wire = new BinaryWriter().uint32(26).bytes(inner).finish()
        expect(decodeConsumeResponse(wire).delivery).toEqual(value)
      }),
    )
  })

  it('leaves the other responses to the generated code', () => {
    const wire = ConsumeResponse.encode({ committed: { correlationId: 9, error: undefined } }).finish()
    expect(decodeConsumeResponse(wire).committed?.correlationId).toBe(9)
    expect(decodeConsumeResponse(new Uint8Array(0)).delivery).toBeUndefined()
  })
})

describe('LeasedBatch', () => {
  it('is written as the generated code writes it', () => {
    fc.assert(
      fc.property(leased, (value) => {
        expect(plain(messageOf(frameLeased(value)))).toEqual(
          plain(QueueServiceConsumeResponse.encode({ leased: value }).finish()),
        )
      }),
    )
  })

  it('is read as the generated code reads it, whatever a later version adds', () => {
    fc.assert(
      fc.property(leased, unknownFields, unknownFields, (value, within, after) => {
        const inner = join(decodeBody(QueueServiceConsumeResponse.encode({ leased: value }).finish()), within)
        const wire = join(new BinaryWriter().uint32(26).bytes(inner).finish(), after)
        expect(decodeQueueConsumeResponse(wire).leased).toEqual(value)
      }),
    )
  })

  it('gives a view, not a copy', () => {
    const [value] = fc.sample(leased, 1)
    const wire = messageOf(frameLeased({ ...value, batches: new Uint8Array(100).fill(7) }))
    expect(decodeQueueConsumeResponse(wire).leased?.batches.buffer).toBe(wire.buffer)
  })

  it('leaves messages, and the other responses, to the generated code', () => {
    const [value] = fc.sample(leased, 1)
    const message = {
      id: 'i',
      topic: 't',
      partition: 1,
      offset: 2,
      timestampMs: 3,
      headers: [],
      payload: new Uint8Array([1]),
    }
    const withMessages = QueueServiceConsumeResponse.encode({ leased: { ...value, messages: [message] } })
    expect(decodeQueueConsumeResponse(withMessages.finish()).leased?.messages).toMatchObject([{ id: 'i' }])
    const settled = { correlationId: 9, error: undefined, results: [] }
    const wire = QueueServiceConsumeResponse.encode({ settled }).finish()
    expect(decodeQueueConsumeResponse(wire).settled).toEqual(settled)
  })
})

describe('malformed bytes', () => {
  it('are refused or read, and never hang or run over', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (wire) => {
        for (const decode of [decodeProduceRequest, decodeConsumeResponse, decodeQueueConsumeResponse]) {
          try {
            decode(wire)
          } catch (error) {
            expect(error).toBeInstanceOf(Error)
          }
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it.each([
    ['a field cut short', [0x2a, 0x05, 1, 2]],
    ['a number cut short', [0x08, 0x80]],
    ['a number of 11 bytes', [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ['a number beyond 2^53', [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ['field 0', [0x00]],
    ['a group', [0x0b, 0x0c]],
    ['a fixed field cut short', [0xa1, 0x01, 1, 2]],
  ])('%s is refused', (_, wire) => {
    expect(() => decodeProduceRequest(new Uint8Array(wire))).toThrow()
  })

  it('negative numbers are read as the generated code reads them', () => {
    const wire = ConsumeResponse.encode({
      delivery: { partition: 1, fromOffset: -1, nextOffset: -5_000_000_000, batches: new Uint8Array(0) },
    }).finish()
    expect(decodeConsumeResponse(wire).delivery).toMatchObject({ fromOffset: -1, nextOffset: -5_000_000_000 })
  })
})

/** What is inside the one field of a response. */
function decodeBody(wire: Uint8Array): Uint8Array {
  let at = 1
  while (wire[at++] >= 0x80);
  return wire.subarray(at)
}
