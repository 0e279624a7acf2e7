/** A process that appends to a log, 16 batches in flight, and prints the end offset of each that was acknowledged. */
import { writeSync } from 'node:fs'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import type { Durability } from 'ratatoskr/ports'
import { sampleBatch } from '../../../contract-tests/batches.ts'
import { diskStorage } from '../index.ts'

const [directory, durability] = process.argv.slice(2) as [string, Durability]
const { logs } = diskStorage({ directory }).open(nodePlatform({ logger: silentLogger }))
await logs.start()
const id = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const log = await logs.openLog(id, { segmentBytes: 64 * 1024 })

async function append(): Promise<void> {
  for (;;) {
    const { endOffset } = log
    await log.append(
      sampleBatch({ baseOffset: endOffset, count: 3, payloadBytes: 200 }),
      endOffset,
      3,
      durability,
    )
    writeSync(1, `${endOffset + 3}\n`)
  }
}

await Promise.all(Array.from({ length: 16 }, append))
