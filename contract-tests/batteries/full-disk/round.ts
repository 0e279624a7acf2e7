/** A server whose disk is filled and freed, round after round. */
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Client, connect, isRatatoskrError } from 'ratatoskr/client'
import { assertPromises, Workload } from '../../testing/chaos.ts'
import type { Mounts } from '../harness/mounts.ts'
import { readBack, tooLate } from '../harness/read-back.ts'
import { type ServerOptions, ServerProcess } from '../harness/server-process.ts'

const schemes = ['grpc', 'ws', 'http']
const MIB = 1024 * 1024
const diskBytes = 48 * MIB
/** What the ballast leaves: soon full, and too little for a segment. */
const roomBytes = 3 * MIB
const segmentBytes = 256 * 1024
/** How long a producer's client tries again for itself before it tells that the disk is full. */
const patienceMs = 1_000
const resumeMsMax = 5_000

export interface FullDiskOptions extends Pick<ServerOptions, 'built' | 'nodeArgs' | 'environment'> {
  readonly random: () => number
}

export class FullDisk implements AsyncDisposable {
  readonly #options: FullDiskOptions
  readonly #mounts: Mounts
  readonly #path: string
  #server: ServerProcess | undefined
  #rounds = 0
  acked = 0
  refused = 0
  /** From there being room to the next acknowledgement. */
  readonly resumeMs: number[] = []
  /** From the start of a process on a full disk until it served. */
  readonly startMs: number[] = []

  constructor(mounts: Mounts, options: FullDiskOptions) {
    this.#mounts = mounts
    this.#options = options
    this.#path = mounts.tmpfs('disk', `${diskBytes}`)
  }

  /**
   * Fills the disk, looks what works, frees it, and asserts that nothing is lost.
   * @param frees what makes room: that the ballast goes, or that a topic is deleted
   */
  async round(frees: 'ballast' | 'deletion'): Promise<void> {
    const number = this.#rounds++
    const kills = number % 3 === 2
    this.#server ??= await this.#start()
    const topic = `round-${number}`
    await using client = await this.#open('grpc')
    await client.createTopic(topic, { partitions: 2, segmentBytes })
    const victim = await this.#makeVictim(client, number)
    this.#fill()
    // Sizes of their own in each round, so that the last write before the end is cut at any place.
    const load = new Workload(topic, 8, 500 + Math.floor(this.#options.random() * 8_000))
    const producers = schemes.map((scheme) => load.produce(scheme, () => this.#open(scheme, patienceMs)))
    try {
      await until(
        () => {
          assertRefusals(load, false)
          return refusals(load) >= 24
        },
        20_000,
        'nobody is refused although the disk is full',
      )
      await this.#lookWhileFull(topic, victim)
      if (kills) await this.#killAndStart(load, topic)
      const begunMs = performance.now()
      const acked = load.ackedMore(1)
      if (frees === 'deletion') await this.#deleteVictim(victim)
      else this.#free()
      await Promise.race([
        acked,
        tooLate(resumeMsMax, 'too late: nothing was acknowledged although there was room'),
      ])
      this.resumeMs.push(performance.now() - begunMs)
      this.#free()
      await pause(this.#options.random() * 200)
    } finally {
      load.end()
      await Promise.all(producers)
    }
    this.acked += load.acked
    this.refused += refusals(load)
    assertRefusals(load, kills)
    await this.#verify(topic, load)
  }

  /** Stops the server as it should be. */
  async finish(): Promise<void> {
    const server = this.#server
    const code = await server?.stop()
    if (server !== undefined && code !== 0) {
      throw new Error(`the server exited with ${code}:\n${server.lines.join('\n')}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    this.#mounts.unmount(this.#path)
  }

  #start(): Promise<ServerProcess> {
    const { built, nodeArgs, environment } = this.#options
    return ServerProcess.start({ directory: join(this.#path, 'data'), built, nodeArgs, environment })
  }

  #open(scheme: string, timeoutMs = 10_000): Promise<Client> {
    const url = this.#server?.urls[scheme]
    if (url === undefined) return Promise.reject(new Error('the server is being started'))
    return connect(url, { reconnect: false, timeoutMs })
  }

  /** A topic with a MiB in it, and a group that has not read it. */
  async #makeVictim(client: Client, number: number): Promise<string> {
    const victim = `victim-${number}`
    await client.createTopic(victim, { partitions: 1, segmentBytes })
    const payload = 'v'.repeat(16 * 1024)
    const results = await client.publishMany(
      victim,
      Array.from({ length: 64 }, () => ({ payload })),
    )
    for (const result of results) if ('error' in result) throw result.error
    await client.commit(victim, 'readers', [{ partition: 0, offset: 1 }])
    return victim
  }

  #fill(): void {
    const { bavail, bsize } = statfsSync(this.#path)
    writeFileSync(join(this.#path, 'ballast'), Buffer.alloc(Math.max(0, bavail * bsize - roomBytes), 1))
  }

  #free(): void {
    rmSync(join(this.#path, 'ballast'), { force: true })
  }

  /** Reads, commits and health while there is no room. */
  async #lookWhileFull(topic: string, victim: string): Promise<void> {
    for (const scheme of schemes) {
      await using client = await this.#open(scheme)
      await readBack(client, topic)
      const found = await client.fetch(victim, { offset: 1, max: 3 })
      if (found.length === 0) throw new Error('broken promises: a fetch gives nothing while the disk is full')
    }
    await using client = await this.#open('ws')
    // A commit may need room that is not there; but what it says then is that, and what it acknowledges is kept.
    const committed = await client.commit(victim, 'readers', [{ partition: 0, offset: 5 }]).then(
      () => 5,
      (error: unknown) => {
        if (isRatatoskrError(error, 'RTK_STORE_FULL')) return 1
        throw new Error(`a commit was refused with ${codeOf(error)}`)
      },
    )
    const { partitions } = await client.describeGroup(victim, 'readers')
    if (partitions[0].committedOffset !== committed) {
      throw new Error(
        `broken promises: committed ${committed}, and the group is at ${partitions[0].committedOffset}`,
      )
    }
    await this.#checkHealth('RTK_STORE_FULL')
  }

  async #checkHealth(code: string): Promise<void> {
    const response = await fetch(`${this.#server?.urls.http}/healthz`)
    const text = await response.text()
    if (!text.includes(code)) throw new Error(`broken promises: health says nothing of ${code}: ${text}`)
  }

  /** A server that is killed on a full disk comes back, and serves reads. */
  async #killAndStart(load: Workload, topic: string): Promise<void> {
    const before = this.#server
    this.#server = undefined
    await before?.crash()
    const server = await this.#start()
    this.#server = server
    this.startMs.push(server.readyMs ?? 0)
    await using client = await this.#open('grpc')
    assertPromises(load.logs, await readBack(client, topic))
    const had = refusals(load)
    await until(() => refusals(load) > had, 10_000, 'nobody is refused after the start on a full disk')
  }

  /** Deleting makes room, and so must work without any. */
  async #deleteVictim(victim: string): Promise<void> {
    await using client = await this.#open('http')
    await client.deleteTopic(victim).catch((error: unknown) => {
      throw new Error(`deleting a topic was refused with ${codeOf(error)}`)
    })
  }

  /** Reads everything, before and after a start, and removes it. */
  async #verify(topic: string, load: Workload): Promise<void> {
    await using client = await this.#open('ws')
    assertPromises(load.logs, await readBack(client, topic))
    await client.close()
    if (this.#options.random() < 0.5) {
      await this.#server?.crash()
      this.#server = await this.#start()
    }
    await using again = await this.#open('grpc')
    const stored = await readBack(again, topic)
    assertPromises(load.logs, stored)
    for (const { name } of await again.listTopics()) await again.deleteTopic(name)
  }
}

function refusals(load: Workload): number {
  return load.logs.reduce((sum, { failures }) => sum + (failures.RTK_STORE_FULL ?? 0), 0)
}

/** @throws Error when somebody was refused with anything else than that the disk is full */
function assertRefusals(load: Workload, killed: boolean): void {
  for (const { name, failures } of load.logs) {
    for (const code of Object.keys(failures)) {
      const lost = killed && (isLoss(code) || code.includes('being started'))
      // The client's own deadline is no answer of the server's.
      if (code !== 'RTK_STORE_FULL' && code !== 'RTK_TIMEOUT' && !lost) {
        throw new Error(`${name} was refused with ${code}, ${failures[code]} times`)
      }
    }
  }
}

const isLoss = (code: string): boolean => code === 'RTK_DISCONNECTED' || code === 'RTK_CLOSED'

const codeOf = (error: unknown): string => (isRatatoskrError(error) ? error.code : String(error))

async function until(condition: () => boolean, ms: number, problem: string): Promise<void> {
  for (const begunMs = performance.now(); !condition(); await pause(5)) {
    if (performance.now() - begunMs > ms) throw new Error(`too late: ${problem} for ${ms} ms`)
  }
}
