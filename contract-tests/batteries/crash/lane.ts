/**
 * One server on one directory that is loaded, killed with SIGKILL and started again, over and over. Several lanes side by
 * side use the machine while one of them waits for its server.
 *
 * Topics are kept for a generation of lives, then everything is read from the beginning and they make place for new ones,
 * so that thousands of lives need neither the disk nor the memory for all that they wrote.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Client, connect } from 'ratatoskr/client'
import type { Durability } from 'ratatoskr/ports'
import { assertPromises, type ProducerLog, Workload } from '../../testing/chaos.ts'
import { freePort } from '../harness/free-port.ts'
import { readBack, tooLate } from '../harness/read-back.ts'
import { type ServerOptions, ServerProcess } from '../harness/server-process.ts'
import { assertState, emptyState, observe, prepareState, StateChanger } from '../harness/state-ledger.ts'
import { LastingClient } from './client.ts'

const levels: readonly Durability[] = ['os', 'interval', 'fsync']
const schemes = ['grpc', 'ws', 'http']
const inFlightMax = 16
const livesPerGeneration = 20

/** A topic, what was published to it, and how far it was read back. */
interface CrashTopic {
  readonly name: string
  readonly logs: ProducerLog[]
  /** Producers of the last life, which are not verified yet. */
  fresh: ProducerLog[]
  readonly verified: Map<number, number>
}

export interface LaneOptions {
  readonly name: string
  readonly server: Omit<ServerOptions, 'args'>
  readonly random: () => number
}

export class CrashLane implements AsyncDisposable {
  readonly #options: LaneOptions
  readonly #random: () => number
  readonly #ports = new Map<string, number>()
  #topics: CrashTopic[] = []
  #lasting: LastingClient | undefined
  #state = emptyState()
  #changer: StateChanger | undefined
  #changes = 0
  #lives = 0
  #last = { readyMs: 600, startMs: 30 }
  /** From the start of the process until it served, of each start after a kill. */
  readonly readyMs: number[] = []
  /** The broker's own part of it. */
  readonly startMs: number[] = []
  kills = 0
  acked = 0
  stored = 0
  stateChanges = 0
  retries = 0

  constructor(options: LaneOptions) {
    this.#options = options
    this.#random = options.random
  }

  /** One life of the server: verifies what the life before left, loads it, kills it. */
  async live(): Promise<void> {
    await using server = await this.#start()
    if (this.#lives > 0) await this.#verify(server)
    if (this.#lives % livesPerGeneration === 0) await this.#nextGeneration(server)
    this.#lives++
    await this.#loadAndKill(server)
    // A crash on the way up: of Node mostly at the first of these times, of the recovery at the last.
    if (this.#random() < 0.25) await this.#killWhileItRecovers()
  }

  /** Reads everything from the beginning, and asks the server to stop as it should. */
  async finish(): Promise<void> {
    await using server = await this.#start()
    await this.#verify(server)
    await this.#closeGeneration(server)
    const code = await server.stop()
    if (code !== 0) throw new Error(`the server exited with ${code}:\n${server.lines.join('\n')}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lasting?.[Symbol.asyncDispose]()
  }

  async #start(): Promise<ServerProcess> {
    const server = ServerProcess.spawn(await this.#serverOptions())
    try {
      await Promise.race([server.ready, tooLate(30_000, 'the server is not ready')])
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
    const { readyMs = 0, startMs = 0 } = server
    this.#last = { readyMs, startMs }
    if (this.kills > 0) {
      this.readyMs.push(readyMs)
      this.startMs.push(startMs)
    }
    return server
  }

  /** The same ports in every life, so that clients can come back. */
  async #serverOptions(): Promise<ServerOptions> {
    const args: string[] = []
    for (const flag of ['grpc-port', 'websocket-port', 'http-port', 'tcp-port']) {
      const port = this.#ports.get(flag) ?? (await freePort(this.#random))
      this.#ports.set(flag, port)
      args.push(`--${flag}`, `${port}`)
    }
    return { ...this.#options.server, args }
  }

  /** Reads what the life before has written, over a transport of its own for each topic. */
  async #verify(server: ServerProcess): Promise<void> {
    for (const [i, topic] of this.#topics.entries()) {
      await using client = await open(server, schemes[(i + this.#lives) % schemes.length])
      const stored = await readBack(client, topic.name, topic.verified)
      assertPromises(topic.fresh, stored)
      topic.fresh = []
      for (const { partition, offset } of stored) topic.verified.set(partition, offset + 1)
    }
    await using client = await open(server, 'grpc')
    const state = await observe(client)
    const { acked = [], uncertain = [] } = this.#changer ?? {}
    assertState(this.#state, acked, uncertain, state)
    this.#changer = undefined
    this.#state = state
  }

  async #closeGeneration(server: ServerProcess): Promise<void> {
    await using client = await open(server, 'ws')
    for (const topic of this.#topics) {
      const stored = await readBack(client, topic.name)
      assertPromises(topic.logs, stored)
      this.stored += stored.length
      await client.deleteTopic(topic.name)
    }
    if (this.#lasting === undefined) return
    await using lasting = this.#lasting
    this.stored += await lasting.finish(client)
    this.retries += lasting.retries
    this.#lasting = undefined
  }

  async #nextGeneration(server: ServerProcess): Promise<void> {
    await this.#closeGeneration(server)
    await using client = await open(server, 'grpc')
    await prepareState(client)
    this.#topics = []
    for (const level of levels) {
      const name = `crash-${level}-${this.#lives}`
      // Small segments, so that kills fall on a roll as well.
      await client.createTopic(name, { partitions: 3, durability: level, segmentBytes: 128 * 1024 })
      this.#topics.push({ name, logs: [], fresh: [], verified: new Map() })
    }
    const lastingTopic = `crash-lasting-${this.#lives}`
    await client.createTopic(lastingTopic, { partitions: 2, durability: 'fsync' })
    const scheme = schemes[(this.#lives / livesPerGeneration) % schemes.length]
    this.#lasting = await LastingClient.start(server.urls[scheme], lastingTopic)
  }

  async #loadAndKill(server: ServerProcess): Promise<void> {
    const payloadBytes = Math.floor(this.#random() ** 3 * 4_000)
    const loads = this.#topics.map((topic) => ({
      topic,
      load: new Workload(topic.name, inFlightMax, payloadBytes),
    }))
    const producers = loads.flatMap(({ load }) =>
      schemes.map((scheme) => load.produce(`${scheme}-${this.#lives}`, () => open(server, scheme))),
    )
    this.#changer = new StateChanger(this.#state, this.#changes)
    const changing = this.#changeState(server, this.#changer)
    // The kill comes under load: not before something was acknowledged.
    const acked: Promise<unknown>[] = [Promise.race(loads.map(({ load }) => load.ackedMore(1)))]
    // In the first life and every second one after it the state has changed as well, however short the run is.
    if (this.#lives % 2 === 1) acked.push(this.#changer.changed)
    await Promise.race([Promise.all(acked), changing, server.exited])
    await pause(this.#random() * (this.#random() < 0.5 ? 50 : 400))
    server.child.kill('SIGKILL')
    for (const { load } of loads) load.end()
    this.#changer.end()
    const { signal } = await server.exited
    if (signal !== 'SIGKILL') throw new Error(`the server ended by itself:\n${server.lines.join('\n')}`)
    await Promise.all([changing, ...producers])
    this.kills++
    this.#changes += this.#changer.acked.length + 1
    this.stateChanges += this.#changer.acked.length
    for (const { topic, load } of loads) {
      this.acked += load.acked
      topic.fresh = load.logs
      topic.logs.push(...load.logs)
    }
  }

  async #changeState(server: ServerProcess, changer: StateChanger): Promise<void> {
    try {
      await using client = await open(server, 'grpc')
      await changer.run(client, this.#random)
    } catch (error) {
      // The kill ends it; any other refusal is a finding.
      if (!server.child.killed) throw error
    }
  }

  async #killWhileItRecovers(): Promise<void> {
    const server = ServerProcess.spawn(await this.#serverOptions())
    server.ready.catch(() => undefined)
    const { readyMs, startMs } = this.#last
    const window = startMs * 2 + 50
    await Promise.race([server.ready, pause(Math.max(0, readyMs - window * this.#random()))])
    await server.crash()
    this.kills++
  }
}

const open = (server: ServerProcess, scheme: string): Promise<Client> =>
  connect(server.urls[scheme], { reconnect: false, timeoutMs: 10_000 })
