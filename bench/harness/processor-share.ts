/**
 * What part of the machine's processors a scenario took, with all the processes that it started: 1 is all of them all the time.
 * Where it nears 1, the machine is what was measured.
 */
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { rounded } from '../../src/cli/bench/statistics.ts'

export interface ProcessorShare {
  /** Of all processors, over the whole scenario: starts, warm-up and all contestants included. */
  readonly share: number
  /** Of all processes. */
  readonly cpuSeconds: number
  readonly seconds: number
  readonly cores: number
}

const ticksPerSecond = 100

/** Runs something and tells what it took. @returns undefined shares where the system does not tell of ended processes */
export async function withShare<Result>(
  run: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly processors: ProcessorShare | undefined }> {
  const [before, beganMs] = [await cpuSecondsSoFar(), performance.now()]
  const result = await run()
  const [after, seconds] = [await cpuSecondsSoFar(), (performance.now() - beganMs) / 1_000]
  if (before === undefined || after === undefined) return { result, processors: undefined }
  const cores = cpus().length
  const cpuSeconds = after - before
  return {
    result,
    processors: {
      share: rounded(cpuSeconds / (seconds * cores)),
      cpuSeconds: rounded(cpuSeconds),
      seconds: rounded(seconds),
      cores,
    },
  }
}

/** Of this process, and of those that it started and that have ended, with theirs; undefined where the system does not tell. */
async function cpuSecondsSoFar(): Promise<number | undefined> {
  const { user, system } = process.cpuUsage()
  try {
    const stat = await readFile('/proc/self/stat', 'utf8')
    // The command's name may hold anything, in parentheses; the fields after it are numbered from 3 on.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [childUser, childSystem] = [fields[16 - 3], fields[17 - 3]].map(Number)
    return (user + system) / 1e6 + (childUser + childSystem) / ticksPerSecond
  } catch {
    return undefined
  }
}
