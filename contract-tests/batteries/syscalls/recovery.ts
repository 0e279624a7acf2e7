/** Opens what a disturbed run has left with a healthy store, and holds it against what the run was promised. */
import { diskStorage, verifyDataDirectory } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import {
  baseOffsetOf,
  type LogStore,
  nextOffsetOf,
  type PartitionLog,
  type StateStore,
} from 'ratatoskr/ports'
import type { Attempt, History, LogHistory } from './history.ts'
import { batchOf, logIds, segmentBytes, valueAt } from './plan.ts'

const platform = nodePlatform({ logger: silentLogger })
export const { checksum } = platform

/** @returns what is wrong; nothing when every promise is kept */
export async function problemsAfter(directory: string, history: History): Promise<readonly string[]> {
  const problems: string[] = []
  const { logs, state } = diskStorage({ directory, hotBytesMax: 1 }).open(platform)
  try {
    await state.start()
    await logs.start()
    problems.push(...(await problemsOfState(state, history)))
    for (const [name, log] of history.logs) problems.push(...(await problemsOfLog(logs, name, log)))
  } catch (error) {
    problems.push(`the directory does not recover: ${String(error)}`)
  }
  await logs.stop()
  await state.stop()
  if (problems.length > 0) return problems
  for await (const { severity, file, state: found, problem } of verifyDataDirectory(directory, checksum)) {
    if (severity === 'error')
      problems.push(`verify says of ${file}, after it was recovered: ${found}, ${problem}`)
  }
  return problems
}

async function problemsOfLog(store: LogStore, name: string, history: LogHistory): Promise<string[]> {
  const log = await store.openLog(logIds[name], { segmentBytes: segmentBytes[name] })
  const found = await readAll(log)
  const problems: string[] = []
  if (log.damaged.length > 0) problems.push(`log ${name} is damaged: ${JSON.stringify(log.damaged)}`)
  for (const one of history.attempts) {
    const isOwed = one.status === 'acked' && one.gone === 'no'
    if (isOwed && !isAt(found.get(one.from), one)) {
      problems.push(
        `LOST: step ${one.step}, offsets ${one.from} to ${one.to} of log ${name}, was acknowledged`,
      )
    }
  }
  for (const [offset, bytes] of found) {
    const known = history.attempts.some((one) => one.gone !== 'yes' && isAt(bytes, one))
    if (!known)
      problems.push(
        `log ${name} has a batch at ${offset} that was never written there, failed, or was cut off`,
      )
  }
  const from = log.endOffset
  const batch = batchOf(9999, from, from + 2, checksum)
  await log.append(batch, from, 2, 'fsync')
  if (Buffer.compare(await log.read(from, 1), batch) !== 0)
    problems.push(`log ${name} does not go on after recovery`)
  await log.truncateAfter(from)
  return problems
}

const isAt = (bytes: Uint8Array | undefined, { step, from, to }: Attempt): boolean =>
  bytes !== undefined && Buffer.compare(bytes, batchOf(step, from, to, checksum)) === 0

async function readAll(log: PartitionLog): Promise<Map<number, Uint8Array>> {
  const batches = new Map<number, Uint8Array>()
  for (let offset = log.startOffset; offset < log.stableOffset; ) {
    const bytes = await log.read(offset, 1)
    batches.set(baseOffsetOf(bytes), bytes)
    offset = nextOffsetOf(bytes)
  }
  return batches
}

async function problemsOfState(state: StateStore, history: History): Promise<string[]> {
  const problems: string[] = []
  for (const [key, attempts] of history.values) {
    const value = (await state.get(key))?.value
    const lastAcked = attempts.findLastIndex(({ status }) => status === 'acked')
    const allowed = attempts.slice(Math.max(0, lastAcked))
    const fits = allowed.some(({ step, there }) =>
      there ? value !== undefined && Buffer.compare(value, valueAt(step, key)) === 0 : value === undefined,
    )
    if (!fits && !(lastAcked === -1 && value === undefined)) {
      problems.push(
        `the value of ${key} is none of those of steps ${allowed.map(({ step }) => step).join(', ')}`,
      )
    }
  }
  await state.put('after recovery', new Uint8Array(3))
  return problems
}
