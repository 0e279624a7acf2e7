/** Record batches for the suites, with contents that tell one from another. */
import { BatchBuilder, stampBatch } from 'ratatoskr/ports'

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})

/** CRC-32C, slow and plain: the suites must not trust the code that they test. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]) & 0xff]
  return ~crc >>> 0
}

/** What a batch for tests is made of. */
export interface SampleBatch {
  readonly baseOffset: number
  /** Records; 1 by default. */
  readonly count?: number
  /** Payload bytes of each record; 20 by default. */
  readonly payloadBytes?: number
  readonly timestampMs?: number
  /** Tells batches of equal form apart. */
  readonly seed?: number
}

export const sampleTimestampMs = 1_700_000_000_000

/** A valid batch at its place in a log, with payloads that follow from `seed`. */
export function sampleBatch(sample: SampleBatch): Uint8Array {
  const {
    baseOffset,
    count = 1,
    payloadBytes = 20,
    timestampMs = sampleTimestampMs,
    seed = baseOffset,
  } = sample
  const builder = new BatchBuilder({ checksum: crc32c, initialBytes: count * (payloadBytes + 24) + 128 })
  const payload = new Uint8Array(payloadBytes)
  for (let i = 0; i < count; i++) {
    for (let at = 0; at < payloadBytes; at++) payload[at] = (seed * 31 + i * 7 + at * 13) & 0xff
    builder.add({ payload, timestampMs })
  }
  const batch = builder.build()
  stampBatch(batch, baseOffset, 0)
  return batch
}

/** A valid batch of exactly `sizeBytes`, with one record. */
export function batchOfSize(sizeBytes: number, baseOffset: number): Uint8Array {
  let payloadBytes = sizeBytes - sampleBatch({ baseOffset, payloadBytes: 0 }).length
  for (;;) {
    const batch = sampleBatch({ baseOffset, payloadBytes })
    if (batch.length === sizeBytes) return batch
    payloadBytes += sizeBytes - batch.length
  }
}
