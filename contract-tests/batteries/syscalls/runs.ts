/** Runs the script of the syscalls battery under strace, undisturbed or with one fault, and judges what came of it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { History } from './history.ts'
import { logIds } from './plan.ts'
import { checksum, problemsAfter } from './recovery.ts'
import { Trace } from './trace.ts'

/** Longer than this the script never takes; what waits for ever is a bug. */
const runMsMax = 20_000

/** The calls that are disturbed. `write` is the lock file's; lines of the script go out with `writev`. */
export const callNames = [
  'openat',
  'read',
  'pread64',
  'write',
  'pwrite64',
  'pwritev',
  'fdatasync',
  'fsync',
  'ftruncate',
  'rename',
  'unlink',
  'rmdir',
  'mkdir',
  'close',
] as const

export type CallName = (typeof callNames)[number]

/** What happens at the n-th call of a name. */
export interface Fault {
  readonly call: CallName
  readonly nth: number
  readonly what: 'killed' | 'short' | 'EIO' | 'ENOSPC' | 'EMFILE'
  readonly forEver: boolean
}

export interface RunOptions {
  /** The data directory; must not be there. Its trace and its lines lie beside it. */
  readonly directory: string
  readonly compileCache: string
  readonly fault?: Fault
  /** A planted bug to run with. */
  readonly bug?: string
}

export interface RunResult {
  readonly problems: readonly string[]
  readonly history: History
  /** Calls of each name on the data directory. */
  readonly counts: ReadonlyMap<string, number>
}

/** One run of the script and what it leaves behind, judged and removed. */
export async function runScript(options: RunOptions): Promise<RunResult> {
  const { directory, fault } = options
  const problems: string[] = []
  try {
    const timedOut = await strace(options)
    const { history, trace, counts } = await readTrace(directory)
    if (timedOut) problems.push(`the script did not end within ${runMsMax / 1000} s`)
    problems.push(...history.problems, ...trace.problems)
    if (fault?.what !== 'killed' && history.end === '') problems.push('the script died')
    problems.push(...missingAtEnd(history, fault))
    problems.push(...(await problemsAfter(directory, history)))
    return { problems, history, counts }
  } finally {
    for (const path of [directory, `${directory}.trace`, `${directory}.lines`]) {
      await rm(path, { recursive: true, force: true })
    }
  }
}

/** After a single fault that let the storage start, everything works again in the end. */
function missingAtEnd(history: History, fault: Fault | undefined): string[] {
  if (fault !== undefined && (fault.forEver || fault.what === 'killed')) return []
  if (fault !== undefined && history.end.startsWith('over RTK_') && history.acks === 0) return []
  const owed = ['append a', 'append b', 'append c', 'put last']
  const missing = owed.filter((one) => !history.lastAcks.has(one))
  if (history.end !== 'end') missing.push(`the end, but: ${history.end}`)
  return missing.map((one) => `after a single fault there is no ${one}`)
}

/** @returns true when it took too long */
async function strace({ directory, compileCache, fault, bug }: RunOptions): Promise<boolean> {
  const lines = await open(`${directory}.lines`, 'w')
  const short = fault?.what === 'short' ? [String(fault.nth)] : []
  const child = spawn(
    'strace',
    [
      ...['-f', '-y', '--seccomp-bpf', '-s', '200', '-o', `${directory}.trace`],
      ...['-e', `trace=writev,renameat2,unlinkat,${callNames.join()}`],
      ...injectionOf(fault),
      ...pathsOf(directory).flatMap((path) => ['-P', path]),
      process.execPath,
      '--conditions=source',
      ...(bug === undefined
        ? []
        : ['--import', fileURLToPath(new URL('../harness/plant.ts', import.meta.url))]),
      fileURLToPath(new URL('script.ts', import.meta.url)),
      directory,
      ...short,
    ],
    {
      // One thread for files: strace counts the calls of each thread by itself.
      env: {
        PATH: process.env.PATH,
        UV_THREADPOOL_SIZE: '1',
        NODE_COMPILE_CACHE: compileCache,
        ...(bug !== undefined && { RATATOSKR_PLANTED: bug }),
      },
      stdio: ['ignore', lines.fd, 'ignore'],
      detached: true,
    },
  )
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    // The script with its tracer: both are in the group that was made for them.
    process.kill(-(child.pid as number), 'SIGKILL')
  }, runMsMax)
  await once(child, 'close')
  clearTimeout(timer)
  await lines.close()
  return timedOut
}

function injectionOf(fault: Fault | undefined): string[] {
  if (fault === undefined || fault.what === 'short') return []
  const effect = fault.what === 'killed' ? 'signal=SIGKILL' : `error=${fault.what}`
  return ['-e', `inject=${fault.call}:${effect}:when=${fault.nth}${fault.forEver ? '+' : ''}`]
}

/** Every path that the script may touch: strace compares whole paths. */
function pathsOf(directory: string): string[] {
  const paths = [
    '',
    'ratatoskr.lock',
    'format.json',
    '.format.json',
    'clean',
    '.clean',
    'clean.tmp',
    'logs',
    'state',
    'trash',
  ]
  const digits = (value: number): string => String(value).padStart(20, '0')
  for (let generation = 1; generation <= 12; generation++) {
    for (const ending of ['log', 'copy']) {
      paths.push(`state/${digits(generation)}.${ending}`, `state/${digits(generation)}.${ending}.tmp`)
    }
  }
  for (const { topicId, partition } of Object.values(logIds)) {
    const folder = `logs/${topicId}/${partition}`
    paths.push(`logs/${topicId}`, folder, `${folder}/failed`)
    for (let base = 0; base < 100; base++) {
      for (const ending of ['log', 'index', 'log.tail.tmp']) paths.push(`${folder}/${digits(base)}.${ending}`)
    }
    for (let count = 0; count < 3; count++) {
      const trash = `trash/${topicId}-${partition}-${count}`
      paths.push(trash)
      for (let base = 0; base < 12; base++)
        paths.push(`${trash}/${digits(base)}.log`, `${trash}/${digits(base)}.index`)
    }
  }
  return [dirname(directory), ...paths.map((path) => join(directory, path)), `${directory}.lines`]
}

async function readTrace(
  directory: string,
): Promise<{ history: History; trace: Trace; counts: ReadonlyMap<string, number> }> {
  const history = new History(directory, checksum)
  const trace = new Trace((line, at) => history.add(line, at))
  const counts = new Map<string, number>()
  for await (const line of createInterface({ input: createReadStream(`${directory}.trace`) })) {
    const name = /^\d+ +(\w+)\(/.exec(line)?.[1]
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
    trace.add(line)
  }
  return { history, trace, counts }
}
