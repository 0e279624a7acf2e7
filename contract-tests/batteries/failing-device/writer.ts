/**
 * Appends to logs on a device that fails: `writer.ts DIRECTORY SEED`. Tells on its standard output, a line each, what was
 * acknowledged and when a log failed; opens it again as often as that takes. Runs until it is killed.
 */
import { writeSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodeChecksum, nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { isRatatoskrError, type PartitionLog } from 'ratatoskr/ports'
import { seededDraw } from '../../seeded-draw.ts'
import { type DeviceEvent, logIds, logOptions } from './protocol.ts'

const checksum = nodeChecksum()
const [directory, seedText] = process.argv.slice(2)
const random = seededDraw(Number(seedText))
const stores = diskStorage({ directory, reserveBytes: 4096 }).open(nodePlatform({ logger: silentLogger }))

const tell = (event: DeviceEvent): void => void writeSync(1, `${JSON.stringify(event)}\n`)

/** Any refusal of the store's own is part of the game; nothing else is. */
function assertRefusal(error: unknown): string {
  if (isRatatoskrError(error)) return error.code
  throw error
}

async function openLog(log: number): Promise<PartitionLog> {
  for (;;) {
    try {
      return await stores.logs.openLog(logIds[log], logOptions)
    } catch (error) {
      tell({ is: 'failed', log, code: assertRefusal(error) })
      await pause(20)
    }
  }
}

/** Several appends at once, as they come from a broker. @returns false when one was refused */
async function appendSome(log: number, open: PartitionLog): Promise<boolean> {
  // Some rounds leave much unsynced behind what comes next.
  const osOnly = random() < 0.5
  const all: Promise<void>[] = []
  for (let count = 1 + Math.floor(random() * 4); count > 0; count--) {
    const offset = open.endOffset
    const level = osOnly || random() < 0.5 ? 'os' : 'fsync'
    const payloadBytes = 200 + Math.floor(random() * 24_000)
    const batch = sampleBatch({ baseOffset: offset, payloadBytes, seed: Math.floor(random() * 2 ** 30) })
    const event = { is: 'acked', log, offset, level, crc: checksum(batch) } as const
    all.push(Promise.resolve(open.append(batch, offset, 1, level)).then(() => tell(event)))
  }
  const refused = (await Promise.allSettled(all)).find((outcome) => outcome.status === 'rejected')
  if (refused === undefined) return true
  tell({ is: 'failed', log, code: assertRefusal(refused.reason) })
  return false
}

async function run(log: number): Promise<never> {
  for (;;) {
    const open = await openLog(log)
    try {
      while (await appendSome(log, open)) await pause(1)
    } catch (error) {
      tell({ is: 'failed', log, code: assertRefusal(error) })
    }
    await open.close()
    await pause(10)
  }
}

await stores.logs.start()
await Promise.all(logIds.map((_, log) => run(log)))
