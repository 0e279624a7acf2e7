/**
 * Reads what strace wrote of the script's run: the calls on the data directory and the lines of the script, in their order.
 * Keeps the books of what is on the medium: which bytes of which file are written and not synced, which were in a sync that
 * failed (the kernel may have dropped them: only writing them again helps), and which names are not durable yet.
 */
import { dirname } from 'node:path'

interface Descriptor {
  readonly path: string
  syncFailed: boolean
}

interface DirtyRange {
  readonly from: number
  readonly to: number
  /** Was in a sync that failed. */
  readonly dropped: boolean
}

interface Call {
  readonly name: string
  readonly args: string
  readonly result: number
  readonly failed: boolean
}

/** What is told of each line of the script, with the books as they are at that moment. */
export type OnLine = (line: string, trace: Trace) => void

export class Trace {
  /** Broken rules that the calls alone show. */
  readonly problems: string[] = []
  readonly #descriptors = new Map<number, Descriptor>()
  readonly #dirty = new Map<string, DirtyRange[]>()
  readonly #looseNames = new Map<string, Set<string>>()
  readonly #begun = new Map<string, string>()
  readonly #onLine: OnLine

  constructor(onLine: OnLine) {
    this.#onLine = onLine
  }

  /** Takes the next line of strace's output. */
  add(text: string): void {
    const unfinished = /^(\d+) +(\w+)\((.*?) <unfinished \.\.\.>$/.exec(text)
    if (unfinished !== null) {
      this.#begun.set(`${unfinished[1]} ${unfinished[2]}`, unfinished[3])
      return
    }
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?)(.*)$/.exec(text)
    if (resumed !== null) {
      const [, thread, name, rest, result] = resumed
      this.#take(name, (this.#begun.get(`${thread} ${name}`) ?? '') + rest, result)
      return
    }
    const whole = /^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(.*)$/.exec(text)
    if (whole !== null) this.#take(whole[2], whole[3], whole[4])
  }

  /** Bytes of a file below a position that a power cut could take now; undefined when none. */
  looseBytes(path: string, below: number): DirtyRange | undefined {
    return this.#dirty.get(path)?.find(({ from }) => from < below)
  }

  /** True when the name of a file or directory, or of one above it, is not durable. */
  isNameLoose(path: string): boolean {
    for (let at = path; at !== '/' && at !== '.'; at = dirname(at)) {
      if (this.#looseNames.get(dirname(at))?.has(at) === true) return true
    }
    return false
  }

  /** Paths of files that are there and were written in this run. */
  get writtenPaths(): readonly string[] {
    return [...this.#dirty.keys()]
  }

  #take(name: string, args: string, result: string): void {
    if (result === '?') return
    const call = { name, args, result: Number(result), failed: Number(result) < 0 }
    if (name === 'writev') this.#line(call)
    else if (name === 'openat') this.#opened(call)
    else if (name === 'close') this.#descriptors.delete(descriptorOf(args))
    else if (name === 'pwrite64' || name === 'pwritev') this.#wrote(call)
    else if (name === 'fdatasync' || name === 'fsync') this.#synced(call)
    else if (name === 'ftruncate') this.#cut(call)
    else if (!call.failed) this.#changedNames(call)
  }

  #line({ args }: Call): void {
    const text = /iov_base="(.*?)"/.exec(args)?.[1]
    if (text !== undefined) this.#onLine(text, this)
  }

  #opened({ args, result, failed }: Call): void {
    const [path] = quoted(args)
    if (failed || path === undefined) return
    this.#descriptors.set(result, { path, syncFailed: false })
    if (args.includes('O_TRUNC')) this.#dirty.set(path, [])
    if (args.includes('O_CREAT') && !this.#known.has(path)) this.#nameChanged(path)
  }

  /** Files and directories that exist by what the trace has shown. */
  readonly #known = new Set<string>()

  #nameChanged(path: string): void {
    this.#known.add(path)
    const names = this.#looseNames.get(dirname(path)) ?? new Set()
    this.#looseNames.set(dirname(path), names.add(path))
  }

  #wrote({ args, result, failed }: Call): void {
    const file = this.#descriptors.get(descriptorOf(args))
    if (failed || file === undefined) return
    const from = Number(/, (\d+)$/.exec(args)?.[1])
    const to = from + result
    const others = this.#without(file.path, from, to)
    this.#dirty.set(file.path, [...others, { from, to, dropped: false }])
  }

  #without(path: string, from: number, to: number): DirtyRange[] {
    return (this.#dirty.get(path) ?? []).flatMap((range) => [
      ...(range.from < from ? [{ ...range, to: Math.min(range.to, from) }] : []),
      ...(range.to > to ? [{ ...range, from: Math.max(range.from, to) }] : []),
    ])
  }

  #synced({ args, name, failed }: Call): void {
    const file = this.#descriptors.get(descriptorOf(args))
    if (file === undefined) return
    const { path } = file
    if (name === 'fdatasync' && file.syncFailed)
      this.problems.push(`${path} was synced again after its sync failed`)
    if (failed) file.syncFailed = true
    const ranges = this.#dirty.get(path) ?? []
    if (this.#dirty.has(path)) {
      this.#dirty.set(
        path,
        failed
          ? ranges.map((range) => ({ ...range, dropped: true }))
          : ranges.filter(({ dropped }) => dropped),
      )
    }
    if (!failed) this.#looseNames.delete(path)
  }

  #cut({ args, failed }: Call): void {
    const file = this.#descriptors.get(descriptorOf(args))
    if (failed || file === undefined) return
    this.#dirty.set(
      file.path,
      this.#without(file.path, Number(/, (\d+)$/.exec(args)?.[1]), Number.POSITIVE_INFINITY),
    )
  }

  #changedNames({ name, args }: Call): void {
    const [path, to] = quoted(args)
    if (name === 'mkdir') this.#nameChanged(path)
    else if (name.startsWith('unlink') || name === 'rmdir') {
      this.#dirty.delete(path)
      this.#known.delete(path)
      this.#looseNames.get(dirname(path))?.delete(path)
    } else if (name.startsWith('rename')) this.#renamed(path, to)
  }

  #renamed(path: string, to: string): void {
    for (const [known, ranges] of [...this.#dirty]) {
      if (known !== path && !known.startsWith(`${path}/`)) continue
      this.#dirty.delete(known)
      this.#dirty.set(to + known.slice(path.length), ranges)
    }
    for (const [descriptor, file] of this.#descriptors) {
      if (file.path === path) this.#descriptors.set(descriptor, { ...file, path: to })
    }
    this.#known.delete(path)
    this.#looseNames.get(dirname(path))?.delete(path)
    this.#nameChanged(to)
  }
}

const descriptorOf = (args: string): number => Number.parseInt(args, 10)

/** The texts in quotes among the arguments of a call. */
const quoted = (args: string): string[] => [...args.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text)
