/**
 * What the script said, as promises: which batches and values must be there after a crash, which may be, and which must not.
 * Checks each acknowledgement of level `fsync` against the books of the trace.
 */
import type { Checksum } from 'ratatoskr/ports'
import { batchOf, logIds } from './plan.ts'
import type { Trace } from './trace.ts'

/** A batch that was given to the store. */
export interface Attempt {
  readonly step: number
  readonly from: number
  readonly to: number
  readonly level: string
  readonly sizeBytes: number
  status: 'pending' | 'acked' | 'failed'
  /** Whether it was cut off or let go of: `maybe` while that is not acknowledged. */
  gone: 'no' | 'maybe' | 'yes'
}

interface ValueAttempt {
  readonly step: number
  /** False when the key was deleted. */
  readonly there: boolean
  status: 'pending' | 'acked' | 'failed'
}

export class LogHistory {
  readonly attempts: Attempt[] = []
  startOffset = 0
}

interface Step {
  readonly verb: string
  readonly name: string
  readonly args: readonly string[]
}

export class History {
  readonly problems: string[] = []
  readonly logs = new Map<string, LogHistory>(Object.keys(logIds).map((name) => [name, new LogHistory()]))
  readonly values = new Map<string, ValueAttempt[]>()
  /** What the script said of its end: `end`, `over CODE`, or nothing. */
  end = ''
  acks = 0
  /** Steps after the line `last` that were acknowledged. */
  lastAcks = new Set<string>()
  readonly #directory: string
  readonly #checksum: Checksum
  readonly #steps = new Map<number, Step>()

  constructor(directory: string, checksum: Checksum) {
    this.#directory = directory
    this.#checksum = checksum
  }

  /** Takes the next line of the script. */
  add(line: string, trace: Trace): void {
    const [word, number, ...rest] = line.split(' ')
    if (word === 'try') this.#try(Number(number), rest)
    else if (word === 'ack') this.#ack(Number(number), rest[0], trace)
    else if (word === 'fail') this.#fail(Number(number), rest.join(' '))
    else {
      this.end = line
      if (line.includes('UNTYPED')) this.problems.push(`the storage failed with no error of ours: ${line}`)
    }
  }

  log(name: string): LogHistory {
    return this.logs.get(name) as LogHistory
  }

  #try(number: number, [verb, name, ...args]: readonly string[]): void {
    this.#steps.set(number, { verb, name, args })
    if (verb === 'append') this.#tryAppend(number, name, args)
    else if (verb === 'after' || verb === 'delete') {
      const offset = verb === 'after' ? Number(args[0]) : 0
      for (const one of this.log(name).attempts) if (one.to > offset && one.gone === 'no') one.gone = 'maybe'
    } else if (verb === 'before') {
      for (const one of this.log(name).attempts)
        if (one.to <= Number(args[0]) && one.gone === 'no') one.gone = 'maybe'
    } else if (verb === 'put' || verb === 'drop') {
      const attempts = this.values.get(name) ?? []
      this.values.set(name, [...attempts, { step: number, there: verb === 'put', status: 'pending' }])
    }
  }

  #tryAppend(step: number, name: string, [from, to, level]: readonly string[]): void {
    const { attempts } = this.log(name)
    const [first, end] = [Number(from), Number(to)]
    for (const one of attempts) {
      if (one.to <= first || one.gone === 'yes') continue
      if (one.status === 'acked' && one.gone === 'no') {
        this.problems.push(
          `step ${step} appends to ${name} at ${first}, but ${one.from} to ${one.to} is acknowledged`,
        )
      }
      // Only an acknowledgement proves that the one before it is gone.
      one.gone = 'maybe'
    }
    const sizeBytes = batchOf(step, first, end, this.#checksum).length
    attempts.push({ step, from: first, to: end, level, sizeBytes, status: 'pending', gone: 'no' })
  }

  #ack(number: number, value: string | undefined, trace: Trace): void {
    const step = this.#steps.get(number)
    if (step === undefined) return
    const { verb, name, args } = step
    this.acks++
    if (this.#isLast) this.lastAcks.add(`${verb} ${name}`)
    if (verb === 'append') this.#ackAppend(number, name, trace)
    else if (verb === 'before') this.#ackBefore(name, Number(value))
    else if (verb === 'after') this.#settle(name, ({ to }) => to > Number(args[0]))
    else if (verb === 'delete') this.#settle(name, () => true)
    else if (verb === 'open') {
      // What failed is cut off by opening the log again: it is never read.
      for (const one of this.log(name).attempts) if (one.status === 'failed') one.gone = 'yes'
    } else if (verb === 'put' || verb === 'drop') this.#ackValue(number, name, trace)
  }

  get #isLast(): boolean {
    return this.end === 'last'
  }

  #settle(name: string, isGone: (attempt: Attempt) => boolean): void {
    for (const one of this.log(name).attempts) if (isGone(one) && one.gone === 'maybe') one.gone = 'yes'
  }

  #ackBefore(name: string, startOffset: number): void {
    const log = this.log(name)
    log.startOffset = startOffset
    for (const one of log.attempts) if (one.gone === 'maybe') one.gone = one.to <= startOffset ? 'yes' : 'no'
  }

  #ackAppend(step: number, name: string, trace: Trace): void {
    const attempt = this.log(name).attempts.find((one) => one.step === step) as Attempt
    attempt.status = 'acked'
    for (const one of this.log(name).attempts) {
      if (one.step < step && one.to > attempt.from) one.gone = 'yes'
    }
    if (attempt.level !== 'fsync') return
    const { topicId, partition } = logIds[name]
    const directory = `${this.#directory}/logs/${topicId}/${partition}/`
    for (const path of trace.writtenPaths) {
      if (!path.startsWith(directory) || !path.endsWith('.log')) continue
      const base = Number(path.slice(directory.length, -4))
      if (base >= attempt.to) continue
      const loose = trace.looseBytes(path, this.#positionOf(name, base, attempt.to))
      if (loose !== undefined) {
        const why = loose.dropped ? 'were in a sync that failed' : 'are not synced'
        this.problems.push(
          `step ${step} is acknowledged, but bytes ${loose.from} to ${loose.to} of ${path} ${why}`,
        )
      }
      if (trace.isNameLoose(path))
        this.problems.push(`step ${step} is acknowledged, but the name of ${path} is not synced`)
    }
  }

  /** Where the offset `to` begins in the segment with this base. */
  #positionOf(name: string, base: number, to: number): number {
    const { attempts } = this.log(name)
    let position = 0
    for (let offset = base; offset < to; ) {
      const batch = attempts.findLast(({ from, gone }) => from === offset && gone !== 'yes')
      // What the script does not know of is another's: then nothing of the file is excused.
      if (batch === undefined) return Number.POSITIVE_INFINITY
      position += batch.sizeBytes
      offset = batch.to
    }
    return position
  }

  #ackValue(number: number, key: string, trace: Trace): void {
    for (const one of this.values.get(key) ?? []) if (one.step === number) one.status = 'acked'
    const newest = trace.writtenPaths
      .filter((path) => path.includes('/state/') && !path.endsWith('.tmp'))
      .sort()
      .at(-1)
    const stem = newest?.slice(0, newest.lastIndexOf('.'))
    for (const path of trace.writtenPaths) {
      if (stem === undefined || !path.startsWith(`${stem}.`) || path.endsWith('.tmp')) continue
      const loose = trace.looseBytes(path, Number.POSITIVE_INFINITY)
      if (loose !== undefined)
        this.problems.push(`step ${number} is acknowledged, but ${path} is not synced from ${loose.from} on`)
      if (trace.isNameLoose(path))
        this.problems.push(`step ${number} is acknowledged, but the name of ${path} is not synced`)
    }
  }

  #fail(number: number, code: string): void {
    const step = this.#steps.get(number)
    if (step === undefined) return
    const { verb, name } = step
    if (!code.startsWith('RTK_')) this.problems.push(`step ${number}, ${verb} ${name}, failed with ${code}`)
    const attempts: readonly { readonly step: number; status: string }[] =
      verb === 'append' ? this.log(name).attempts : (this.values.get(name) ?? [])
    for (const one of attempts) if (one.step === number) one.status = 'failed'
  }
}
