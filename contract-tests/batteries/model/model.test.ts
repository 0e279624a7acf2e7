/** The model's own rules: a seed is a run, and what a member may not be given is refused. */
import { crc32c } from 'ratatoskr/contract-tests'
import { BatchBuilder, type LeasedBatch, type QueueConfig, stampBatch } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { runChunk } from './chunk.ts'
import { PartitionModel } from './partition.ts'
import { recordsOf } from './stored-log.ts'

const config: QueueConfig = {
  sharing: 'keyShared',
  ackTimeoutMs: 1_000,
  retriesMax: 1,
  retry: { kind: 'fixed', delayMs: 500 },
  deadLetterTopic: '',
  deadLetterRetentionMs: -1,
  deadLetterExpired: false,
  inFlightMax: 100,
  checkpointIntervalMs: 100,
  groupExpiryMs: -1,
}

const text = new TextEncoder()

/** A message of key a, as it is stored and delivered. */
function batchAt(offset: number, lease: number, attempt = 1, redelivered = false): LeasedBatch {
  const builder = new BatchBuilder({ checksum: crc32c })
  builder.add({ payload: text.encode(`m${offset}`), key: text.encode('a'), timestampMs: 0 })
  const bytes = builder.build().slice()
  stampBatch(bytes, offset, 0)
  const facts = { partition: 0, recordCount: 1, firstOffset: offset, lastOffset: offset, leaseMs: 1_000 }
  return { ...facts, bytes, lease, attempt, redelivered }
}

function partition(): PartitionModel {
  const made = new PartitionModel(0, () => config)
  for (const offset of [0, 1]) made.stored(recordsOf(batchAt(offset, 1).bytes))
  return made
}

const member = (number: number, polls = false) => ({ number, autoAck: false, polls, begins: false })

describe('the model', () => {
  it.each([
    ['before an earlier one of its key', batchAt(1, 1), /came before 0 of the same key/],
    ['with a wrong attempt', batchAt(0, 1, 2), /as attempt 2 instead of 1/],
    ['flagged without a reason', batchAt(0, 1, 1, true), /flagged as redelivered/],
    ['with an old lease', batchAt(0, 0), /lease 0 came after lease 0/],
  ])('refuses a message %s', (_, batch, problem) => {
    expect(() => partition().deliver(member(1), batch, 0, false)).toThrow(problem)
  })

  it('knows when a message comes again, and as what', () => {
    const model = partition()
    model.deliver(member(1), batchAt(0, 1), 0, false)
    expect(() => model.deliver(member(2), batchAt(0, 2, 2, true), 999, false)).toThrow(/while it was leased/)
    expect(model.untold).toEqual([])
    model.tick(1_000)
    expect(model.untold).toEqual(['1 1 0 timeout'])
    model.deliver(member(2), batchAt(0, 2, 2, true), 1_000, false)
    expect(model.settle({ ...batchAt(0, 1), from: 0, to: 1, action: 'ack' }, 1_000).lost).toBe(1)
    expect(model.settle({ ...batchAt(0, 2), from: 0, to: 1, action: 'nack' }, 1_000).settled).toBe(1)
    expect(model.counts(1_000)).toEqual({ lag: [2, 2], inFlight: 0, delayed: [0, 0] })
    expect(() => model.deliver(member(2), batchAt(0, 3, 3, true), 9_000, false)).toThrow(
      /while it was failing/,
    )
  })

  it('knows that who polls is told of no loss, and hears of a delivery after later ones', () => {
    const model = partition()
    model.deliver(member(1), batchAt(0, 2), 0, false)
    const before = model.lastLease
    expect(() => model.deliver(member(2, true), batchAt(0, 2), 0, false, 0)).toThrow(/lease 2 came after/)
    model.tick(1_000)
    model.deliver(member(1), batchAt(0, 4, 2, true), 1_000, false)
    expect(() => model.deliver(member(1, true), batchAt(1, 3), 1_000, false)).toThrow(/lease 3 came after/)
    model.deliver(member(1, true), batchAt(1, 3), 1_000, false, before)
    model.tick(2_000)
    expect(model.untold).toEqual(['1 2 0 timeout'])
  })

  it('leaves open what a crash leaves open, and nothing else', () => {
    const model = partition()
    model.deliver(member(1), batchAt(0, 1), 0, false)
    model.settle({ ...batchAt(0, 1), from: 0, to: 1, action: 'ack' }, 50)
    model.restart(40, 60)
    expect(model.counts(60).lag).toEqual([1, 2])
    expect(() => model.deliver(member(1), batchAt(0, 2, 1), 60, false)).toThrow(/attempt 1 instead of 2/)
    model.deliver(member(1), batchAt(0, 3, 2, true), 60, false)
    model.settle({ ...batchAt(0, 3), from: 0, to: 1, action: 'ack' }, 70)
    model.restart(80, 90)
    expect(() => model.deliver(member(1), batchAt(0, 4, 3, true), 90, false)).toThrow(/while it was settled/)
  })
})

it('a seed is a run', async () => {
  const chunk = { seed: 4, runs: 20, shrinks: false }
  expect(await runChunk(chunk)).toEqual({ seed: 4, runs: 20, failure: undefined })
}, 30_000)
