/** The disk without a broker: one partition of the disk store, or a bare file as the reference. */
import { randomUUID } from 'node:crypto'
import { close, fdatasync, open, write } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type Durability, type LogStoreCounters, stampBatch } from 'ratatoskr/ports'
import { BatchRing, recordsFor } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'
import { underLoad } from '../harness/load.ts'

interface Load {
  /** Below it a folder is made; whoever asks removes all of it. */
  readonly directory: string
  readonly seconds: number
  /** Written at most. */
  readonly bytesMax: number
}

export interface AppendLoad extends Load {
  readonly durability: Durability
  readonly batchBytes: number
  readonly payloadBytes: number
  /** Appends that are not settled yet, at most. */
  readonly inFlight: number
}

/** What was done in the measured time. */
export interface Amount {
  /** Of the file. */
  readonly bytes: number
  readonly seconds: number
}

export interface AppendRate extends Amount {
  readonly payloadBytes: number
  readonly syncs: number
}

export interface RawLoad extends Load {
  readonly blockBytes: number
}

serveRole({
  append: async (load: AppendLoad): Promise<AppendRate> => append(await newFolder(load.directory), load),
  raw: async (load: RawLoad): Promise<Amount> => raw(await newFolder(load.directory), load),
})

const newFolder = (directory: string): Promise<string> => mkdtemp(join(directory, 'data-'))

async function append(directory: string, load: AppendLoad): Promise<AppendRate> {
  const { durability, payloadBytes, batchBytes, inFlight } = load
  const { logs, state } = diskStorage({ directory }).open(nodePlatform({ logger: silentLogger }))
  await state.start()
  await logs.start()
  const log = await logs.openLog({ topicId: randomUUID(), partition: 0 }, { segmentBytes: 100_000_000 })
  const ring = new BatchRing(inFlight + 1, {
    payloadBytes,
    recordsPerBatch: recordsFor(batchBytes, payloadBytes),
  })
  const { recordsPerBatch } = ring
  const result = await underLoad<LogStoreCounters>(
    {
      lanes: inFlight,
      seconds: load.seconds,
      operationsMax: Math.floor(load.bytesMax / ring.batchBytes),
      snapshot: () => ({ ...logs.counters }),
    },
    () => {
      const batch = ring.next()
      stampBatch(batch, log.endOffset, 0)
      return log.append(batch, log.endOffset, recordsPerBatch, durability)
    },
  )
  await logs.stop()
  await state.stop()
  const { before, after, operations, seconds } = result
  return {
    bytes: operations * ring.batchBytes,
    payloadBytes: operations * recordsPerBatch * payloadBytes,
    seconds,
    syncs: after.syncs - before.syncs,
  }
}

/** Writes a block, waits for its fdatasync, writes the next: a file that grows. */
async function raw(directory: string, { blockBytes, seconds, bytesMax }: RawLoad): Promise<Amount> {
  const block = Buffer.alloc(blockBytes, 0x61)
  const fd = await promisify(open)(join(directory, 'raw'), 'w')
  let position = 0
  try {
    const operationsMax = Math.floor(bytesMax / blockBytes)
    const result = await underLoad({ lanes: 1, seconds, operationsMax, snapshot: () => undefined }, () => {
      const at = position
      position += blockBytes
      return writeAndSync(fd, block, at)
    })
    return { bytes: result.operations * blockBytes, seconds: result.seconds }
  } finally {
    await promisify(close)(fd)
  }
}

function writeAndSync(fd: number, block: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    write(fd, block, 0, block.length, position, (error, written) => {
      if (error !== null) return reject(error)
      if (written !== block.length)
        return reject(new Error(`the system wrote ${written} of ${block.length} bytes`))
      fdatasync(fd, (failed) => (failed ? reject(failed) : resolve()))
    })
  })
}
