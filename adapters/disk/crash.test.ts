/** Kills a process that appends, and looks at what it left: nothing acknowledged is missing, nothing is made up. */
import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { nextOffsetOf, type PartitionLog } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { makeDirectory, openDisk } from './testing/setups.ts'

const child = fileURLToPath(new URL('./testing/append-until-killed.ts', import.meta.url))
const id = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const segmentBytes = 64 * 1024

/** Lets a process append until some acks have come, and kills it. @returns the highest offset that was acknowledged */
async function appendAndKill(directory: string, durability: string, acksMin: number): Promise<number> {
  const process_ = spawn(process.execPath, ['--conditions=source', child, directory, durability], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let acked = -1
  let acks = 0
  const exited = new Promise((resolve) => process_.once('exit', resolve))
  for await (const line of createInterface({ input: process_.stdout })) {
    acked = Number(line)
    if (++acks === acksMin) process_.kill('SIGKILL')
  }
  await exited
  return acked
}

/** Checks every batch against what the child must have written there. @returns the end of the log */
async function verify(log: PartitionLog): Promise<number> {
  let offset = 0
  while (offset < log.stableOffset) {
    const bytes = await log.read(offset, 1)
    const expected = sampleBatch({ baseOffset: offset, count: 3, payloadBytes: 200 })
    expect(Buffer.compare(bytes, expected), `batch at ${offset}`).toBe(0)
    offset = nextOffsetOf(bytes)
  }
  return offset
}

for (const durability of ['os', 'fsync']) {
  it(`five kills at level ${durability}: all that was acknowledged is there`, {
    timeout: 60_000,
  }, async () => {
    const directory = await makeDirectory()
    try {
      for (let round = 1; round <= 5; round++) {
        const acked = await appendAndKill(directory, durability, 20 + round * 7)
        expect(acked).toBeGreaterThan(0)
        const { logs } = openDisk(directory)
        await logs.start()
        const log = await logs.openLog(id, { segmentBytes })
        expect(await verify(log)).toBeGreaterThanOrEqual(acked)
        expect(log.endOffset).toBe(log.stableOffset)
        await logs.stop()
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
}
