/** One message as a queue group of the model knows it: where it stands, and everything that it may be after a crash. */

export type Status = 'waiting' | 'leased' | 'delayed' | 'failing' | 'settled'

/** What a checkpoint could have said of a message. */
export interface Past {
  readonly atMs: number
  readonly status: Status
  /** Deliveries that count; of a leased one, those that do when its holder is lost. */
  readonly attempts: number
  readonly dueMs: number
}

export class MessageModel {
  readonly offset: number
  readonly name: string
  readonly key: string
  readonly expiresAtMs: number
  /** `doubt`: one of `possible`, as the last crash left it. */
  status: Status | 'doubt' = 'waiting'
  possible: readonly Past[] = []
  /** It stands as it was stored, and nobody may have looked at it since. */
  untouched = false
  /** Deliveries that count, the present one included. */
  attempts = 0
  /** When a delayed one is ready again. */
  dueMs = 0
  lease = 0
  member = 0
  /** Of a leased one: the loss of its holder counts. */
  begun = false
  deadlineMs = 0
  /** It was delivered at least once, in whatever life of the broker. */
  seen = false
  /** Since the group began here, or began anew: at a restart or a seek. */
  seenInGeneration = -1
  /** Why it is on its way to the dead letters. */
  failure = ''
  /** When it fails, it is settled without a trace. */
  vanishes = false
  /** Dead letters of it that are stored. */
  buried = 0
  /** The group went back before it: it may fail once more. */
  buriedAgainMax = 0
  /** What was stored when the broker began, and what happened since. */
  #base: readonly Past[] = [{ atMs: 0, status: 'waiting', attempts: 0, dueMs: 0 }]
  #past: Past[] = []
  #marked = 0

  constructor(offset: number, name: string, key: string, expiresAtMs: number) {
    this.offset = offset
    this.name = name
    this.key = key
    this.expiresAtMs = expiresAtMs
  }

  become(status: Status, atMs: number): void {
    this.status = status
    this.untouched = false
    this.possible = []
    const attempts = status === 'leased' && !this.begun ? this.attempts - 1 : this.attempts
    this.#past.push({ atMs, status, attempts, dueMs: status === 'delayed' ? this.dueMs : 0 })
  }

  /** True when it may be given to a member at this time. */
  mayBeReady(nowMs: number): boolean {
    if (this.status === 'waiting') return true
    if (this.status !== 'doubt') return false
    return this.possible.some(
      ({ status, dueMs }) =>
        status === 'waiting' || status === 'leased' || (status === 'delayed' && dueMs <= nowMs),
    )
  }

  mayBe(status: Status): boolean {
    return (
      this.status === status ||
      (this.status === 'doubt' && this.possible.some((one) => one.status === status))
    )
  }

  /** True when it is settled, or may be: a crash left it open, or it expired and may have been passed over. */
  mayBeSettled(nowMs: number): boolean {
    return this.mayBe('settled') || this.hasExpired(nowMs) || this.#needsNoLetter
  }

  /** It failed, and nothing more is stored of it: nobody wants its dead letter, or it is there. */
  get #needsNoLetter(): boolean {
    return this.status === 'failing' && (this.vanishes || this.buried > 0)
  }

  /** True when it has expired and nobody holds it. */
  hasExpired(nowMs: number): boolean {
    return (
      this.expiresAtMs <= nowMs &&
      (this.status === 'waiting' || this.status === 'delayed' || this.status === 'doubt')
    )
  }

  /** Attempts that its next delivery may say. */
  nextAttempts(): readonly number[] {
    if (this.status !== 'doubt') return [this.attempts + 1]
    return this.possible.map(({ attempts }) => attempts + 1)
  }

  /** Notes this moment: see `flushed`. */
  mark(): void {
    this.#marked = this.#past.length
  }

  /** Everything up to the moment that was noted is stored. */
  flushed(): void {
    const last = this.#past[this.#marked - 1]
    if (last !== undefined) this.#base = [last]
    this.#past = this.#past.slice(this.#marked)
    this.#marked = 0
  }

  /** The broker is there again with what was stored at some moment from `sinceMs` on. */
  restored(sinceMs: number, nowMs: number): void {
    const later = this.#past.filter(({ atMs }) => atMs > sinceMs)
    const before = this.#past.filter(({ atMs }) => atMs <= sinceMs).at(-1)
    const possible = distinct([...(before === undefined ? this.#base : [before]), ...later].map(atRest))
    if ((this.vanishes || this.buried > 0) && possible.some(({ status }) => status === 'failing')) {
      possible.push({ atMs: nowMs, status: 'settled', attempts: this.attempts, dueMs: 0 })
    }
    this.lease = this.member = 0
    this.#base = possible
    this.#past = []
    this.#marked = 0
    this.failure = ''
    if (possible.length > 1) {
      this.status = 'doubt'
      this.possible = possible
      return
    }
    const [{ status, attempts, dueMs }] = possible
    this.attempts = attempts
    this.dueMs = dueMs
    this.become(status, nowMs)
    this.untouched = true
  }

  /** The group begins anew here, or passes it over. */
  begin(status: 'waiting' | 'settled', nowMs: number): void {
    if (this.buried > 0 || this.mayBe('failing') || this.hasExpired(nowMs)) this.buriedAgainMax++
    this.attempts = 0
    this.lease = this.member = 0
    this.seenInGeneration = -1
    this.become(status, nowMs)
  }
}

/** What a restart makes of it. */
function atRest(past: Past): Past {
  return past.status === 'leased' ? { ...past, status: 'waiting' } : past
}

function distinct(pasts: readonly Past[]): Past[] {
  const found = new Map(
    pasts.map((one) => [`${one.status} ${one.attempts} ${one.status === 'delayed' ? one.dueMs : 0}`, one]),
  )
  return [...found.values()]
}
