/** Record batches for tests. */
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { BatchBuilder, utf8 } from 'ratatoskr/ports'

const platform = nodePlatform({ logger: silentLogger })

export function batchOf(texts: readonly string[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: platform.checksum })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}
