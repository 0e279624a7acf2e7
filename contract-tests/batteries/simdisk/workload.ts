/**
 * A random life of a storage, every step of which follows from a seed: several logs of mixed durability, appends in flight
 * together, small segments, truncates, deletes, state, full and failing disks, clean stops. Models note what was promised.
 */
import { ManualClock, type SimulatedDisk, simulatedDisk } from 'ratatoskr/contract-tests'
import {
  type Durability,
  isRatatoskrError,
  type LogId,
  type PartitionLog,
  type Stores,
} from 'ratatoskr/ports'
import { Dice } from './dice.ts'
import { Flight } from './flight.ts'
import { type Attempt, type FoundLog, LogModel, type StateModel } from './model.ts'
import { StateChanges } from './state-changes.ts'
import {
  batchOf,
  codeOf,
  keyOf,
  openStores,
  readLog,
  readState,
  type StorageShape,
  settled,
} from './storage.ts'
import { Weather, type WeatherKind } from './weather.ts'

const logIds: readonly LogId[] = [
  { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 },
  { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 1 },
  { topicId: '0b0b0b0b-2222-4222-8222-bbbbbbbbbbbb', partition: 0 },
]
const levels: readonly Durability[] = ['fsync', 'fsync', 'fsync', 'interval', 'os']

export class Workload {
  readonly disk: SimulatedDisk
  readonly clock = new ManualClock()
  readonly shape: StorageShape
  readonly weather: Weather
  readonly models: ReadonlyMap<string, LogModel>
  /** Logs that failed and were closed since: that is noted for a new process, so that it can tell. */
  readonly noted = new Set<string>()
  /** What was done, for a person to read when the seed fails. */
  readonly lines: string[] = []
  readonly #dice: Dice
  /** Some logs are said to be known, also where there is nothing: those are durable from their first append on. */
  readonly #sayKnown: Dice
  readonly #open = new Map<string, PartitionLog>()
  readonly #failedLogs = new Set<string>()
  /** Those whose appends were refused for a failure since they were opened. */
  readonly #brokenLogs = new Set<string>()
  readonly #flight = new Flight()
  readonly #changes: StateChanges
  #stores: Stores
  #started = false
  #number = 0

  constructor(seed: number) {
    const dice = new Dice(seed)
    this.#dice = dice
    this.#sayKnown = new Dice(seed ^ 0x27d4eb2f)
    this.disk = simulatedDisk({
      seed,
      sectorBytes: dice.pick([64, 512, 512]),
      delayTurnsMax: dice.between(0, 3),
      keepTrace: false,
    })
    this.shape = {
      segmentBytes: dice.pick([250, 600, 1500, 100_000]),
      openFilesMax: dice.pick([2, 4, 100]),
      hotBytesMax: dice.pick([1, 40_000, 1_000_000]),
    }
    const kind: WeatherKind = dice.pick(['calm', 'full', 'failing'])
    this.weather = new Weather(kind, this.disk, dice, (line) => this.#say(line))
    this.models = new Map(logIds.map((id) => [keyOf(id), new LogModel(keyOf(id))]))
    this.#changes = new StateChanges(
      dice,
      this.#flight,
      () => ++this.#number,
      (line) => this.#say(line),
    )
    this.#stores = openStores(this.disk, this.clock, this.shape)
  }

  get state(): StateModel {
    return this.#changes.model
  }

  /** Lives to the end. @throws Error when the storage breaks a promise while it runs */
  async run(): Promise<void> {
    await this.#start()
    const steps = this.#dice.between(8, 18)
    for (let step = 0; step < steps; step++) {
      if (this.weather.kind !== 'calm') this.#stir()
      await this.#step()
      if (this.#dice.chance(0.4)) await this.#arrive()
    }
    await this.#arrive()
    this.weather.clear()
    await this.#stop()
  }

  async #step(): Promise<void> {
    const { logs } = { logs: [...this.#open.keys()] }
    const at = this.#dice.next()
    if (logs.length === 0 || at < 0.08) return this.#openOne()
    const key = this.#dice.pick(logs)
    if (at < 0.55) return this.#appendSome(key)
    if (at < 0.73) return this.#changes.makeSome(this.#stores.state)
    if (at < 0.79) return this.#pass(this.#dice.between(1, 120))
    if (at < 0.83) return this.#truncateBefore(key)
    if (at < 0.87) return this.#truncateAfter(key)
    if (at < 0.91) return this.#closeOne(key)
    if (at < 0.94) return this.#deleteOne(key)
    if (at < 0.97) return this.#readOne(key)
    await this.#stop()
    await this.#start()
  }

  /** Makes the disk better or worse. */
  #stir(): void {
    if (this.weather.stir() !== 'fault') return
    // A sync that nobody waits for may meet it, and then nobody is told: see to it that no deadline is held against that.
    for (const model of this.models.values()) model.excusedUntil = Number.POSITIVE_INFINITY
  }

  async #start(): Promise<void> {
    this.#say('start')
    for (let tries = 0; !this.#started; tries++) {
      if (tries > 0) this.weather.clear()
      if (tries > 2) throw new Error('the storage does not start on a disk that is well')
      try {
        await settled(this.#stores.state.start(), this.clock)
        await settled(this.#stores.logs.start(), this.clock)
        this.#started = true
      } catch (error) {
        this.#say(`start failed: ${codeOf(error)}`)
        if (tries > 1) throw error
        await settled(this.#stores.state.stop(), this.clock)
      }
    }
    this.#changes.reopenedWith(await readState(this.#stores))
  }

  async #stop(): Promise<void> {
    this.#say('stop')
    await this.#arrive()
    await settled(this.#stores.logs.stop(), this.clock)
    await settled(this.#stores.state.stop(), this.clock)
    for (const key of this.#open.keys()) {
      this.#failedLogs.add(key)
      this.#note(key)
    }
    this.#open.clear()
    this.#started = false
    this.#stores = openStores(this.disk, this.clock, this.shape)
  }

  async #openOne(): Promise<void> {
    const id = this.#dice.pick(logIds.filter((one) => !this.#open.has(keyOf(one))))
    if (id !== undefined) await this.#openLog(id)
  }

  async #openLog(id: LogId): Promise<void> {
    const key = keyOf(id)
    const model = this.#modelOf(key)
    const wasThere = model.mayExist
    model.mayExist = true
    try {
      const known = this.#sayKnown.chance(0.3)
      const log = await settled(this.#stores.logs.openLog(id, { ...this.shape, known }), this.clock)
      this.#open.set(key, log)
      this.noted.delete(key)
      this.#brokenLogs.delete(key)
      this.#say(`open ${this.#short(key)}: ${log.startOffset} to ${log.endOffset}`)
      if (wasThere) await this.#resync(key, log)
    } catch (error) {
      this.#say(`open ${this.#short(key)} failed: ${codeOf(error)}`)
      if (codeOf(error) === 'RTK_STORE_CORRUPT') throw error
    }
  }

  /** The process lives on: what was acknowledged is there, and what is there now is what there is from now on. */
  async #resync(key: string, log: PartitionLog): Promise<void> {
    const model = this.#modelOf(key)
    let found: FoundLog
    try {
      found = await settled(readLog(log), this.clock)
    } catch (error) {
      if (codeOf(error) === 'RTK_STORE_CORRUPT') throw error
      this.weather.clear()
      found = await settled(readLog(log), this.clock)
    }
    const problem = model.check(found, { kind: 'kill', nowMs: this.clock.now(), syncIntervalMs: 0 })
    if (problem !== undefined) throw new Error(`opened again, ${problem}`)
    this.#failedLogs.delete(key)
    model.reopenedWith(found)
  }

  async #appendSome(key: string): Promise<void> {
    // Closing leaves an index: what follows is then the end of a segment that is known to be synced up to there.
    if (this.#dice.chance(0.2)) await this.#closeOne(key)
    const level = this.#dice.chance(0.7) ? this.#dice.pick(levels) : undefined
    for (let count = this.#dice.between(1, 4); count > 0; count--) {
      this.#append(key, level ?? this.#dice.pick(levels))
      if (this.#dice.chance(0.3)) await undefined
    }
    if (level === 'interval' && this.#dice.chance(0.5)) await this.#pass(this.#dice.between(51, 120))
    if (this.#failedLogs.has(key)) await this.#closeOne(key)
  }

  #append(key: string, durability: Durability): void {
    const log = this.#open.get(key)
    if (log === undefined) return
    const model = this.#modelOf(key)
    const count = this.#dice.between(1, 3)
    const base = log.endOffset
    const payloadBytes = this.#dice.chance(0.1) ? this.#dice.between(400, 6000) : this.#dice.between(4, 150)
    const allTold = model.attempts.every(({ status }) => status !== 'pending')
    if (base !== model.end && allTold && !this.#failedLogs.has(key)) {
      throw new Error(`the log ends at ${base}, expected ${model.end}`)
    }
    const bytes = batchOf(++this.#number, base, count, payloadBytes)
    const attempt: Attempt = { base, end: base + count, bytes, durability, status: 'pending', ackedAtMs: 0 }
    model.submitted(attempt)
    this.#say(`append ${this.#short(key)} ${base}+${count} ${durability}, ${bytes.length} bytes`)
    try {
      const done = log.append(bytes, base, count, durability)
      this.#flight.add(Promise.resolve(done), (error) => this.#appended(key, attempt, error))
    } catch (error) {
      model.refused(attempt)
      this.#refusal(key, error)
    }
  }

  #appended(key: string, attempt: Attempt, error: unknown): void {
    const model = this.#modelOf(key)
    if (error === undefined) {
      const before = model.attempts.find(({ status, end }) => status === 'pending' && end <= attempt.base)
      if (before !== undefined) throw new Error(`${attempt.base} was acknowledged before ${before.base}`)
      model.settled(attempt, 'acked', this.clock.now())
      return
    }
    model.settled(attempt, codeOf(error) === 'RTK_STORE_FULL' ? 'full' : 'failed', 0)
    if (codeOf(error) === 'RTK_STORE_FAILED') this.#brokenLogs.add(key)
    this.#refusal(key, error)
  }

  #refusal(key: string, error: unknown): void {
    const code = codeOf(error)
    this.#say(`refused ${this.#short(key)}: ${code}`)
    if (code === 'RTK_STORE_FULL') return
    if (code !== 'RTK_STORE_FAILED') throw error
    this.#failedLogs.add(key)
  }

  async #truncateBefore(key: string): Promise<void> {
    const log = this.#open.get(key)
    const model = this.#modelOf(key)
    if (log === undefined) return
    const offset = this.#dice.between(log.startOffset, log.stableOffset)
    model.startMax = Math.max(model.startMax, offset)
    this.#say(`truncate ${this.#short(key)} before ${offset}`)
    try {
      const start = await settled(log.truncateBefore(offset), this.clock)
      if (start > offset || start !== log.startOffset) throw new Error(`truncated before ${offset}: ${start}`)
      model.start = model.startMax = start
    } catch (error) {
      if (!isRatatoskrError(error)) throw error
      this.#refusal(key, error)
      await this.#closeOne(key)
    }
  }

  async #truncateAfter(key: string): Promise<void> {
    await this.#arrive()
    const log = this.#open.get(key)
    const model = this.#modelOf(key)
    if (log === undefined || this.#failedLogs.has(key)) return
    const acked = model.attempts.filter(({ status, base }) => status === 'acked' && base >= log.startOffset)
    const offset = acked.length === 0 ? log.endOffset : this.#dice.pick(acked).base
    model.cutTo = offset
    this.#say(`truncate ${this.#short(key)} after ${offset}`)
    try {
      await settled(log.truncateAfter(offset), this.clock)
      model.cut(offset)
    } catch (error) {
      if (!isRatatoskrError(error)) throw error
      this.#say(`truncate failed: ${error.code}`)
      this.#failedLogs.add(key)
      await this.#closeOne(key)
    }
  }

  async #closeOne(key: string): Promise<void> {
    await this.#arrive()
    const log = this.#open.get(key)
    if (log === undefined) return
    this.#say(`close ${this.#short(key)}`)
    await settled(log.close(), this.clock)
    this.#note(key)
    this.#open.delete(key)
    const id = logIds.find((one) => keyOf(one) === key)
    if (id !== undefined && this.#dice.chance(0.8)) await this.#openLog(id)
  }

  /** A log that was closed. */
  #note(key: string): void {
    if (this.#brokenLogs.has(key) && !this.weather.filesMayFail) this.noted.add(key)
  }

  async #deleteOne(key: string): Promise<void> {
    await this.#arrive()
    this.noted.delete(key)
    this.#brokenLogs.delete(key)
    const model = this.#modelOf(key)
    const id = logIds.find((one) => keyOf(one) === key) as LogId
    model.deleting = true
    for (let tries = 0; ; tries++) {
      this.#say(`delete ${this.#short(key)}`)
      try {
        await settled(this.#stores.logs.deleteLog(id), this.clock)
        break
      } catch (error) {
        this.#say(`delete failed: ${codeOf(error)}`)
        if (tries > 1) throw error
        this.weather.clear()
      }
    }
    this.#open.delete(key)
    this.#failedLogs.delete(key)
    model.deleted()
    if (this.#dice.chance(0.5)) await this.#openLog(id)
  }

  /** Reads beside everything else: what comes is what was acknowledged. */
  async #readOne(key: string): Promise<void> {
    await this.#arrive()
    const log = this.#open.get(key)
    if (log === undefined || this.#failedLogs.has(key)) return
    try {
      const found = await settled(readLog(log), this.clock)
      const model = this.#modelOf(key)
      const problem = model.check(found, { kind: 'kill', nowMs: this.clock.now(), syncIntervalMs: 0 })
      if (problem !== undefined) throw new Error(`read while it runs, ${problem}`)
    } catch (error) {
      if (!isRatatoskrError(error) || error.code === 'RTK_STORE_CORRUPT') throw error
      this.#say(`read failed: ${error.code}`)
    }
  }

  async #pass(ms: number): Promise<void> {
    this.#say(`${ms} ms pass`)
    await this.clock.advance(ms)
  }

  /** Waits for everything in flight. */
  #arrive(): Promise<void> {
    return settled(this.#flight.landed(), this.clock)
  }

  #modelOf(key: string): LogModel {
    return this.models.get(key) as LogModel
  }

  #short(key: string): string {
    return `${key[1]}${key.at(-1)}`
  }

  #say(line: string): void {
    this.lines.push(`${this.clock.monotonic()} ms: ${line}`)
  }
}
