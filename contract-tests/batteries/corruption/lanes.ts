/** Runs the rounds of the corruption battery in processes of their own, and notices those that crash or do not end. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LaneMessage } from './lane.ts'
import { type MutationKind, mutationKinds } from './mutations.ts'
import type { Outcome } from './verdict.ts'

/** A store that takes so long for some hundred small batches does not end. */
const roundMsMax = 20_000
const failuresMaxOf = (bug: string | undefined): number => (bug === undefined ? 20 : 1)

export interface RoundFailure {
  readonly round: number
  readonly kind: MutationKind
  readonly what: string
  readonly message: string
}

/** What came out of many rounds. */
export class Tally {
  readonly failures: RoundFailure[] = []
  readonly #counts = new Map<MutationKind, Map<Outcome, number>>(
    mutationKinds.map((kind) => [kind, new Map()]),
  )

  add({ round, kind, what, outcome, failure }: LaneMessage): void {
    if (failure !== undefined) this.failures.push({ round, kind, what, message: failure })
    if (outcome === undefined) return
    const counts = this.#counts.get(kind)
    counts?.set(outcome, (counts.get(outcome) ?? 0) + 1)
  }

  /** Rounds that were run, failures among them. */
  countOf(kind: MutationKind): number {
    const right = [...(this.#counts.get(kind)?.values() ?? [])].reduce((sum, count) => sum + count, 0)
    return right + this.failures.filter((failure) => failure.kind === kind).length
  }

  /** Rounds of a kind by how they ended, as a line. */
  lineOf(kind: MutationKind): string {
    const counts = [...(this.#counts.get(kind) ?? [])].sort()
    const sum = counts.reduce((total, [, count]) => total + count, 0)
    return `${sum} right: ${counts.map(([outcome, count]) => `${count} ${outcome}`).join(', ')}`
  }
}

export interface LaneOptions {
  readonly seed: number
  readonly from: number
  readonly to: number
  /** A planted bug to run with; then the first failure ends the lane. */
  readonly bug?: string
}

/** Runs rounds into a tally, in one process at a time: a round that ends its process is a failure, and the next goes on. */
export async function runLane({ seed, from, to, bug }: LaneOptions, tally: Tally): Promise<void> {
  let next = from
  while (next < to && tally.failures.length < failuresMaxOf(bug)) {
    next = await runProcess({ seed, from: next, to, ...(bug !== undefined && { bug }) }, tally)
  }
}

/** @returns the round to go on with */
async function runProcess({ seed, from, to, bug }: LaneOptions, tally: Tally): Promise<number> {
  const planted = ['--import', fileURLToPath(new URL('../harness/plant.ts', import.meta.url))]
  const child = fork(
    fileURLToPath(new URL('lane.ts', import.meta.url)),
    [seed, from, to, ...(bug === undefined ? [] : [bug])].map(String),
    {
      execArgv: ['--conditions=source', ...(bug === undefined ? [] : planted)],
      env: { ...process.env, ...(bug !== undefined && { RATATOSKR_PLANTED: bug }) },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    },
  )
  let errors = ''
  child.stderr?.on('data', (chunk) => {
    errors = (errors + chunk).slice(-4000)
  })
  let last: LaneMessage | undefined
  let hangs = false
  let isStopped = false
  const stop = (): void => {
    isStopped = true
    child.kill('SIGKILL')
  }
  const watchdog = setTimeout(() => {
    hangs = true
    child.kill('SIGKILL')
  }, roundMsMax)
  child.on('message', (message: LaneMessage) => {
    watchdog.refresh()
    last = message
    tally.add(message)
    if (tally.failures.length >= failuresMaxOf(bug)) stop()
  })
  const [code, signal] = await once(child, 'close')
  clearTimeout(watchdog)
  if (code === 0 || isStopped) return to
  if (last === undefined) throw new Error(`a lane did not begin (${code ?? signal}): ${errors}`)
  const ended = last.outcome !== undefined || last.failure !== undefined
  if (!ended || hangs) {
    const message = hangs ? `does not end within ${roundMsMax / 1000} s` : `ended the process: ${errors}`
    tally.add({ ...last, failure: message })
  }
  return last.round + 1
}
