/** What the members of all groups did with which message, and whether that is what a queue group promises over crashes. */

/** A message that a handler was given. */
export interface Handling {
  readonly group: string
  readonly member: string
  readonly partition: number
  readonly offset: number
  readonly name: string
  readonly key: string
  readonly attempt: number
  readonly redelivered: boolean
  readonly beganMs: number
  /** When the handler returned, which acknowledges; undefined while it runs. */
  endedMs: number | undefined
}

/** The server was not there. What members begin meanwhile was leased to them before. */
export interface Crash {
  readonly killedMs: number
  readyMs: number
}

export interface Acked {
  readonly partition: number
  readonly offset: number
}

/**
 * A checkpoint is stored 100 ms after something changed; what is more than that is the way of an acknowledgement, and a
 * machine that has other things to do.
 */
const windowMs = 1_500

export class Ledger {
  /** Everything that was published and acknowledged, by name. */
  readonly acked = new Map<string, Acked>()
  readonly handlings: Handling[] = []
  readonly crashes: Crash[] = []
  #duplicates = 0

  get duplicates(): number {
    return this.#duplicates
  }

  /** Names that a group has not handled to the end. */
  missing(group: string): string[] {
    const done = new Set<string>()
    for (const one of this.handlings) if (one.group === group && one.endedMs !== undefined) done.add(one.name)
    return [...this.acked.keys()].filter((name) => !done.has(name))
  }

  /** Broken promises. @param ordered groups in which the messages of a key come in order */
  *problems(groups: readonly string[], ordered: ReadonlySet<string>): Generator<string> {
    for (const group of groups) {
      const missing = this.missing(group)
      if (missing.length > 0)
        yield `${group} never finished ${missing.length} messages, such as ${missing[0]}`
      const handlings = this.handlings.filter((one) => one.group === group)
      yield* this.#misplaced(handlings)
      yield* this.#repeated(handlings)
      if (ordered.has(group)) yield* outOfOrder(handlings)
    }
  }

  *#misplaced(handlings: readonly Handling[]): Generator<string> {
    for (const { group, name, partition, offset } of handlings) {
      const receipt = this.acked.get(name)
      if (receipt === undefined || (receipt.partition === partition && receipt.offset === offset)) continue
      yield `${group} got ${name} at ${partition}/${offset}, which was acknowledged elsewhere`
    }
  }

  /** What was handled to the end comes again only when a crash came before it could be stored, and says so. */
  *#repeated(handlings: readonly Handling[]): Generator<string> {
    const first = new Map<string, Handling>()
    for (const one of handlings) {
      const id = `${one.partition}/${one.offset}`
      const before = first.get(id)
      if (before === undefined) {
        first.set(id, one)
        continue
      }
      this.#duplicates++
      const told = `${one.group} got ${one.name} again`
      if (!one.redelivered) yield `${told}, and it was not flagged`
      const { endedMs } = before
      if (endedMs === undefined) continue
      const excused = this.crashes.some(
        ({ killedMs, readyMs }) => endedMs >= killedMs - windowMs && before.beganMs <= readyMs,
      )
      if (!excused) yield `${told}, though it was acknowledged ${this.#sinceKill(endedMs)}`
      first.set(id, one)
    }
  }

  #sinceKill(ms: number): string {
    const next = this.crashes.find(({ killedMs }) => killedMs >= ms)
    return next === undefined ? 'after the last crash' : `${Math.round(next.killedMs - ms)} ms before a crash`
  }
}

/** Each message of a key is first given out after all before it were. */
function* outOfOrder(handlings: readonly Handling[]): Generator<string> {
  const last = new Map<string, Handling>()
  const seen = new Set<string>()
  for (const one of handlings) {
    const id = `${one.partition}/${one.offset}`
    if (one.key === '' || seen.has(id)) continue
    seen.add(id)
    const key = `${one.partition} ${one.key}`
    const before = last.get(key)
    if (before !== undefined && before.offset > one.offset) {
      yield `${one.group} got ${one.name} of key ${one.key} after ${before.name}, which stands behind it`
    }
    last.set(key, one)
  }
}
