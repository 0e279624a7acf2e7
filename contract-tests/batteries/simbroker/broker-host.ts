/** The broker's life: starts on what the last crash left, is killed, loses its power, stands still, has trouble with its disk. */
import { createBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodeChecksum, silentLogger } from 'ratatoskr/adapters/node'
import {
  type ManualClock,
  ProcessClock,
  type SimulatedDisk,
  type SimulatedNetwork,
  seededRandom,
  simulatedDisk,
} from 'ratatoskr/contract-tests'
import type { BrokerFacade, Platform, Session } from 'ratatoskr/ports'
import type { Ledger } from './ledger.ts'
import type { Plan } from './plan.ts'

type Broker = Awaited<ReturnType<typeof createBroker>>

const checksum = nodeChecksum()
const peer = { transport: 'judge', address: 'judge', local: true, encrypted: false }

/** A platform without I/O, whose randomness follows from the seed. */
export const platformOf = (seed: number, clock: ProcessClock): Platform => ({
  clock,
  random: seededRandom(seed),
  checksum,
  compression: new Map(),
  logger: silentLogger,
})

export class BrokerHost {
  disk: SimulatedDisk
  readonly #plan: Plan
  readonly #clock: ManualClock
  readonly #network: SimulatedNetwork
  readonly #ledger: Ledger
  readonly #memory = memoryStorage()
  #process: ProcessClock
  #broker: Broker | undefined
  /** Counts lives: what an earlier one still does is of no interest. */
  #life = 0
  /** Starts that failed. */
  #failures = 0

  constructor(plan: Plan, clock: ManualClock, network: SimulatedNetwork, ledger: Ledger) {
    this.#plan = plan
    this.#clock = clock
    this.#network = network
    this.#ledger = ledger
    this.#process = new ProcessClock(clock)
    this.disk = simulatedDisk({ seed: plan.seed, keepTrace: false })
  }

  /** Undefined while it is down. */
  get facade(): BrokerFacade | undefined {
    return this.#broker?.facade
  }

  /** A session without any network between; undefined while the broker is down. */
  async session(): Promise<Session | undefined> {
    return this.#broker?.facade.connect(peer, { kind: 'none' })
  }

  async start(): Promise<void> {
    const life = ++this.#life
    this.#process = new ProcessClock(this.#clock)
    const storage = this.#plan.onDisk
      ? diskStorage({ directory: '/data', fileSystem: this.disk, reserveBytes: 512, hotBytesMax: 4_096 })
      : this.#memory
    const broker = await createBroker({
      storage,
      limits: { memberTimeoutMs: this.#plan.memberTimeoutMs },
      platform: platformOf(this.#plan.seed + 1_000 * life, this.#process),
    })
    try {
      await broker.start()
    } catch (error) {
      this.#ledger.note(`start failed: ${String(error)} ${String((error as Error).cause)}`)
      if (++this.#failures > 20) throw error
      if (life === this.#life) this.#clock.after(500, () => void this.start())
      return
    }
    if (life !== this.#life) return
    this.#broker = broker
    this.#network.attach(broker.facade)
    this.#ledger.note(`broker up, life ${life}`)
  }

  /** Ends it at once, or after so many calls of its disk; it comes back after a while. */
  crash(kind: 'kill' | 'power cut', calls: number, downMs: number): void {
    if (calls === 0) {
      this.#crashNow(kind, downMs)
      return
    }
    const { disk } = this
    const life = this.#life
    let left = calls
    disk.onCall = () => {
      if (--left === 0 && life === this.#life) this.#crashNow(kind, downMs)
    }
    this.#clock.after(700, () => {
      if (left > 0 && life === this.#life) this.#crashNow(kind, downMs)
    })
  }

  #crashNow(kind: 'kill' | 'power cut', downMs: number): void {
    this.#ledger.trouble(undefined, kind)
    this.#ledger.crashes.push(this.#ledger.nowMs)
    const before = this.disk
    before.onCall = undefined
    this.disk = kind === 'kill' ? before.fork() : before.powerCut()
    this.#end()
    this.#clock.after(downMs, () => void this.start())
  }

  /** Stops and starts it in order. */
  async restart(downMs: number): Promise<void> {
    const broker = this.#broker
    const life = this.#life
    if (broker === undefined) return
    this.#ledger.trouble(undefined, 'restart')
    try {
      await broker.stop()
    } catch (error) {
      this.#ledger.note(`stop failed: ${String(error)}`)
      // What it could not store is gone, as in a crash, and it says so.
      this.#ledger.crashes.push(this.#ledger.nowMs)
    }
    if (life !== this.#life) return
    this.#end()
    this.#clock.after(downMs, () => void this.start())
  }

  async stop(): Promise<void> {
    await this.#broker?.stop()
    this.#end()
  }

  stall(ms: number): void {
    this.#ledger.trouble(undefined, `broker stalls for ${ms}`)
    this.#process.stall(ms)
    this.#clock.after(ms, () => this.#ledger.trouble(undefined, 'broker stalled'))
  }

  /** Leaves no room, or only a little, for some time. */
  fill(forMs: number): void {
    this.#ledger.trouble(undefined, 'full')
    this.disk.capacityBytes = this.disk.usedBytes
    this.#clock.after(forMs, () => this.free())
  }

  free(): void {
    this.disk.capacityBytes = Number.POSITIVE_INFINITY
    this.#ledger.trouble(undefined, 'room again')
  }

  /** Lets calls of the disk fail. */
  fail(what: 'log error' | 'state error', forMs: number): void {
    this.#ledger.trouble(undefined, what)
    const path = what === 'log error' ? /\/logs\// : /\/state\//
    const times = what === 'log error' ? 1 : 3
    this.disk.inject({ call: ['write', 'sync'], path, code: 'EIO', times })
    this.#clock.after(forMs, () => this.disk.heal())
  }

  #end(): void {
    this.#life++
    this.#broker = undefined
    this.#process.kill()
    this.#network.detach()
  }
}
