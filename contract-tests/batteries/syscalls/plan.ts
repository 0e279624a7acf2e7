/** What the script of the syscalls battery and its judge both know: the logs, and what the n-th step writes. */
import { BatchBuilder, type Checksum, type LogId, stampBatch } from 'ratatoskr/ports'

export const logIds: Readonly<Record<string, LogId>> = {
  a: { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 },
  b: { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 1 },
  c: { topicId: '0c0c0c0c-1111-4111-8111-aaaaaaaaaaaa', partition: 0 },
}

export const segmentBytes: Readonly<Record<string, number>> = { a: 700, b: 1 << 20, c: 700 }

/** Bytes that follow from a number. */
function bytesOf(step: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (step * 131 + at * 17 + (at >> 8)) & 0xff)
}

/** The batch that step `step` appends. */
export function batchOf(step: number, from: number, to: number, checksum: Checksum): Uint8Array {
  const builder = new BatchBuilder({ checksum })
  for (let i = from; i < to; i++) {
    builder.add({
      payload: bytesOf(step + i, 30 + ((step * 37) % 120)),
      timestampMs: 1_700_000_000_000 + step,
    })
  }
  const batch = builder.build()
  stampBatch(batch, from, 0)
  return batch
}

/** The value that step `step` puts at a key; the large ones make the state be written anew. */
export const valueAt = (step: number, key: string): Uint8Array =>
  bytesOf(step, key.startsWith('large/') ? 60_000 : 20 + (step % 30))
