/**
 * The broker of a worker that is not the controller: it owns partitions, has transports and sessions of its own, and asks the
 * controller for everything else.
 */
import { BuilderPool } from '../../domain/batch/builder-pool.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import type {
  BrokerFacade,
  BrokerPlace,
  BrokerStats,
  Credentials,
  Health,
  Peer as NetworkPeer,
} from '../../ports/index.ts'
import { Admission } from '../admission/admission.ts'
import { PublishBudget } from '../admission/publish-budget.ts'
import { type BrokerOptions, completeSettings } from '../broker-options.ts'
import { Lifecycle } from '../lifecycle.ts'
import { sharedBuilders } from '../partitions/accumulator.ts'
import { ProducerStore } from '../producers/producer-store.ts'
import { Profiler } from '../profiler.ts'
import { Publisher } from '../publish/publisher.ts'
import { PublishTraffic } from '../publish/traffic.ts'
import type { LiveTopic } from '../seams.ts'
import { SessionTable } from '../session-table.ts'
import { brokerStats } from '../stats.ts'
import { StorageRoom } from '../storage-room.ts'
import { Supervision } from '../supervision/supervisor.ts'
import { TransportRunner } from '../supervision/transport-runner.ts'
import { DurabilityOffer } from '../topics/durability-offer.ts'
import { EntrySession } from './entry-session.ts'
import type { MeshChannel } from './mesh-channel.ts'
import type { MeshService } from './mesh-link.ts'
import type { MeshOperations } from './mesh-operations.ts'
import { partitionService } from './partition-host.ts'
import { Peer } from './peer.ts'
import { SinkTable } from './session-host.ts'
import { WorkerTopics } from './worker-topics.ts'

export interface WorkerBrokerOptions extends Omit<BrokerOptions, 'transports'> {
  /** Which of `count` workers this is; 0 is the controller. */
  readonly index: number
  readonly count: number
  /** The ways in, for the ports that the controller listens on. */
  transports(ports: readonly number[]): Promise<BrokerOptions['transports']>
}

/** How often the controller is told what was counted. */
const countsMs = 1_000

const done = { value: undefined }

export class WorkerBroker {
  readonly facade: BrokerFacade
  readonly #options: WorkerBrokerOptions
  readonly #peers: readonly Peer[]
  readonly #topics: WorkerTopics
  readonly #sinks = new SinkTable()
  readonly #traffic: PublishTraffic
  readonly #supervision: Supervision
  readonly #room: StorageRoom
  readonly #admission: Admission
  readonly #sessions: SessionTable
  readonly #lifecycle: Lifecycle
  #runners: TransportRunner[] = []
  #place: BrokerPlace | undefined
  #counting: Disposable | undefined
  /** How the broker is, as the controller last said. */
  #health: Health = { status: 'starting', ready: false, uptimeMs: 0, components: [] }

  constructor(options: WorkerBrokerOptions) {
    this.#options = options
    const settings = completeSettings(options.settings)
    const { platform, limits, plugins: hooks, delivery, storage, metrics } = options
    this.#peers = Array.from({ length: options.count }, (_, index) => new Peer(index))
    this.#traffic = new PublishTraffic(hooks, platform.clock)
    this.#supervision = new Supervision(platform, settings.restart, () => {})
    this.#room = new StorageRoom(platform)
    this.#topics = this.#makeTopics(settings.verifyRecords)
    this.#admission = new Admission(platform, limits, metrics)
    this.#sessions = this.#makeSessions(settings.autoCreateTopics)
    const place = () => this.#place
    this.facade = Object.freeze({
      get place() {
        return place()
      },
      limits,
      platform,
      authenticator: options.authenticator,
      connect: (peer: NetworkPeer, credentials: Credentials) => this.#sessions.connect(peer, credentials),
      health: () => this.health(),
    })
    const { plugins } = options
    this.#lifecycle = new Lifecycle(
      [
        { name: 'state store', start: () => storage.state.start(), stop: () => storage.state.stop() },
        { name: 'log store', start: () => storage.logs.start(), stop: () => storage.logs.stop() },
        { name: 'topics', start: () => {}, stop: () => this.#topics.close(stopping()) },
        { name: 'delivery', start: () => delivery.load(), stop: () => delivery.stop(stopping()) },
        { name: 'plugins', start: () => plugins.start(), stop: () => plugins.stop() },
        { name: 'admission', start: () => {}, stop: () => this.#admission.stop() },
        { name: 'counts', start: () => this.#count(), stop: () => this.#counting?.[Symbol.dispose]() },
      ],
      platform,
    )
  }

  #makeTopics(verifyRecords: boolean): WorkerTopics {
    const options = this.#options
    const { platform, limits, delivery, storage } = options
    const expansion = { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax }
    const producers = new ProducerStore(storage.state, platform.logger)
    return new WorkerTopics({
      index: options.index,
      peers: this.#peers,
      store: storage.logs,
      producers,
      delivery,
      context: {
        store: storage.logs,
        platform,
        limits,
        budget: new PublishBudget(limits),
        expansion,
        supervision: this.#supervision,
        traffic: this.#traffic,
        builders: new BuilderPool({ checksum: platform.checksum }, sharedBuilders),
        room: this.#room,
        producers,
        verifyRecords: verifyRecords,
        remembersIds: false,
      },
    })
  }

  #makeSessions(autoCreateTopics: boolean): SessionTable {
    const options = this.#options
    const { platform, limits, plugins: hooks, delivery, storage } = options
    const expansion = { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax }
    const publisher = new Publisher({
      hooks,
      platform,
      limits,
      offer: new DurabilityOffer(storage.logs.supports.durability),
      traffic: this.#traffic,
      scheduler: undefined,
      expansion,
    })
    const profiler = new Profiler(platform, hooks)
    return new SessionTable({
      authenticator: options.authenticator,
      authorizer: options.authorizer,
      hooks,
      platform,
      limits,
      admission: this.#admission,
      open: (id, principal, grants, admission, closed) => {
        const session: EntrySession = new EntrySession(id, principal, grants, {
          topics: this.#topics,
          delivery,
          hooks,
          autoCreateTopics,
          admission,
          publisher,
          profiler,
          limits,
          controller: this.#peers[0],
          sinks: this.#sinks,
          tellCounts: () => this.#tellCounts(),
          closed: () => {
            closed(session)
            this.#tellCounts()
          },
        })
        return session
      },
    })
  }

  /** What the controller last said of the whole broker. */
  health(): Health {
    return this.#health
  }

  /** Counts of this worker. */
  stats(): BrokerStats {
    return brokerStats({
      topics: this.#topics.list(),
      sessions: this.#sessions.size,
      traffic: this.#traffic,
      delivery: this.#options.delivery,
      uptimeMs: this.#health.uptimeMs,
      storage: this.#options.storage.logs.counters,
    })
  }

  /** Starts what the worker has. Then it can be connected to the controller. */
  async start(): Promise<void> {
    await this.#lifecycle.start(this.#options.limits.stopTimeoutMs)
    await this.#options.delivery.start([])
  }

  /** Joins it to another worker. */
  connect(index: number, channel: MeshChannel): void {
    const { service, serveAppend } = partitionService(this.#topics.placed, this.#peers[index])
    const all = index === 0 ? { ...service, ...this.#controllersService } : service
    this.#peers[index].connect(channel, all, serveAppend)
  }

  /** Parts it from all other workers. */
  cut(): void {
    for (const peer of this.#peers) peer.disconnect()
  }

  async stop(): Promise<void> {
    const { stopTimeoutMs } = this.#options.limits
    await this.#stopServing(0)
    await this.#lifecycle.stop(stopTimeoutMs)
    this.cut()
  }

  /** What is done for the controller alone. */
  get #controllersService(): MeshService<MeshOperations> {
    return {
      ...this.#topics.service,
      ...this.#sinks.service,
      serve: async ({ ports, broker }) => {
        const { index: worker, count: workers } = this.#options
        this.#place = { broker, worker, workers }
        await this.#serve(ports)
        return done
      },
      stopServing: async ({ deadlineMs }) => {
        await this.#stopServing(deadlineMs)
        return done
      },
      heartbeat: ({ health }) => {
        this.#health = health
        return done
      },
    }
  }

  async #serve(ports: readonly number[]): Promise<void> {
    this.#sessions.accept()
    const { platform, limits } = this.#options
    const transports = await this.#options.transports(ports)
    for (const transport of transports) {
      const runner = new TransportRunner(transport, this.facade, platform, limits, this.#supervision)
      await runner.start()
      this.#runners.push(runner)
    }
  }

  async #stopServing(deadlineMs: number): Promise<void> {
    this.#sessions.refuse()
    const runners = this.#runners
    this.#runners = []
    await Promise.allSettled(runners.map((runner) => runner.stop(deadlineMs)))
    await this.#sessions.close()
  }

  #tellCounts(): void {
    const { delivery } = this.#options
    const ofEach = (count: (topic: LiveTopic) => number) =>
      this.#topics
        .list()
        .map((topic) => [topic.id, count(topic)] as const)
        .filter(([, counted]) => counted > 0)
    const subscribers = ofEach((topic) => delivery.subscriberCount(topic))
    const delivered = ofEach((topic) => delivery.deliveredCount(topic))
    const components = [
      ...this.#supervision.troubled,
      ...this.#room.trouble,
      ...this.#topics.list().flatMap(({ partitions }) => partitions.flatMap(({ trouble }) => trouble)),
    ]
    const damaged = this.#topics.damaged
    this.#peers[0].tell('counts', { stats: this.stats(), subscribers, delivered, components, damaged })
  }

  readonly #count = (): void => {
    this.#tellCounts()
    this.#counting = this.#options.platform.clock.after(countsMs, this.#count)
  }
}

const stopping = (): RatatoskrError =>
  new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; retry after a pause')
