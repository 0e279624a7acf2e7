/**
 * The running broker: puts its parts together, owns their start and stop, and opens sessions for whoever connects.
 * It gets everything it works with from its caller and knows no container, no adapter and no global.
 */
import { BuilderPool } from '../domain/batch/builder-pool.ts'
import type { Expansion } from '../domain/batch/expand.ts'
import { RatatoskrError } from '../domain/errors.ts'
import { defaultNamespace } from '../domain/names.ts'
import { isHiddenTopic } from '../domain/schedule/scheduling.ts'
import { defaultTopicConfig, parseTopicConfig } from '../domain/topic-config.ts'
import type {
  BrokerFacade,
  BrokerStats,
  Component,
  Credentials,
  Health,
  Peer,
  Principal,
  Session,
} from '../ports/index.ts'
import { Admission } from './admission/admission.ts'
import { PublishBudget } from './admission/publish-budget.ts'
import { type BrokerOptions, type BrokerSettings, completeSettings } from './broker-options.ts'
import { TopicDeadLetters } from './dead-letters/dead-letters.ts'
import { LetterDesk } from './dead-letters/letter-desk.ts'
import { brokerHealth, type LifeState } from './health.ts'
import { Lifecycle, type LifecycleStep } from './lifecycle.ts'
import { sharedBuilders } from './partitions/accumulator.ts'
import { localPlacement } from './partitions/partition.ts'
import { ProducerStore } from './producers/producer-store.ts'
import { Profiler } from './profiler.ts'
import { Publisher } from './publish/publisher.ts'
import { PublishTraffic } from './publish/traffic.ts'
import { Retention } from './retention.ts'
import { Scheduler } from './schedule/scheduler.ts'
import { BrokerSession } from './session.ts'
import { SessionTable } from './session-table.ts'
import { brokerStats, topicStats } from './stats.ts'
import { StorageRoom } from './storage-room.ts'
import { Supervision } from './supervision/supervisor.ts'
import { TransportRunner } from './supervision/transport-runner.ts'
import { DurabilityOffer } from './topics/durability-offer.ts'
import type { Topic } from './topics/topic.ts'
import { TopicRegistry } from './topics/topic-registry.ts'
import { Controller } from './workers/controller.ts'
import type { WorkerThreads } from './workers/worker-threads.ts'

/** Of the time that a transport has to stop, what it may use to drain; the rest is for cutting what is left. */
const drainShare = 0.9

export class Broker implements Component {
  readonly name = 'broker'
  /** What transports and plugins may call. */
  readonly facade: BrokerFacade
  readonly #options: BrokerOptions
  readonly #settings: BrokerSettings
  readonly #traffic: PublishTraffic
  readonly #topics: TopicRegistry
  readonly #lifecycle: Lifecycle
  readonly #supervision: Supervision
  readonly #retention: Retention
  readonly #scheduler: Scheduler
  readonly #deadLetters: TopicDeadLetters
  readonly #letters: LetterDesk
  readonly #admission: Admission
  readonly #sessions: SessionTable
  readonly #room: StorageRoom
  /** Undefined for a broker that is one event loop. */
  readonly #controller: Controller | undefined
  #runners: readonly TransportRunner[] = []
  #life: LifeState = 'stopped'
  #startedAtMs = 0
  /** Starts and stops wait for one another. */
  #last: Promise<void> = Promise.resolve()

  /** @throws RTK_INVALID_ARGUMENT, RTK_DURABILITY_UNAVAILABLE when `topicDefaults` are wrong for these limits and this store */
  constructor(options: BrokerOptions) {
    this.#options = options
    this.#settings = completeSettings(options.settings)
    const { platform, limits, plugins: hooks, delivery, storage, metrics } = options
    this.#traffic = new PublishTraffic(hooks, platform.clock)
    this.#supervision = new Supervision(platform, this.#settings.restart, (name) =>
      metrics.counter('ratatoskr.component.restarts', { kind: name.slice(0, name.indexOf(' ')) }).add(1),
    )
    this.#room = new StorageRoom(platform)
    this.#controller = options.workers && this.#makeController(options.workers)
    const offer = new DurabilityOffer(storage.logs.supports.durability)
    const expansion = { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax }
    this.#topics = this.#makeTopics(offer, expansion)
    this.#scheduler = new Scheduler({
      platform,
      limits,
      topics: this.#topics,
      state: storage.state,
      offer,
      expansion,
      dropped: (messages) => metrics.counter('ratatoskr.scheduled.dropped').add(messages),
    })
    const { queues } = delivery
    const letterParts = { topics: this.#topics, platform, expansion, offer, state: storage.state, queues }
    this.#deadLetters = new TopicDeadLetters(letterParts)
    this.#letters = new LetterDesk(letterParts)
    delivery.useDeadLetters(this.#deadLetters)
    this.#retention = this.#makeRetention(expansion)
    this.#admission = new Admission(platform, limits, metrics)
    this.#sessions = this.#makeSessions(offer, expansion)
    this.facade = Object.freeze({
      limits,
      platform,
      authenticator: options.authenticator,
      place: this.#controller?.place,
      connect: (peer: Peer, credentials: Credentials) => this.#sessions.connect(peer, credentials),
      health: () => this.health(),
    })
    this.#lifecycle = new Lifecycle(this.#steps(), platform)
  }

  /**
   * Starts storage, topics, delivery, plugins and transports, in this order. Idempotent. When a part fails, those before
   * it are stopped again and the broker can be started another time.
   */
  start(): Promise<void> {
    return this.#inTurn(() => this.#start())
  }

  /**
   * Stops everything in the reverse order within `limits.stopTimeoutMs`: first readiness fails, then transports drain.
   * Idempotent. @throws the first failure, after everything was stopped or given up
   */
  stop(): Promise<void> {
    return this.#inTurn(() => this.#stop())
  }

  /**
   * Makes readiness fail, and goes on serving until `stop`: so that load balancers send nobody here any more before the
   * first connection is refused. Does nothing unless the broker is running.
   */
  drain(): void {
    if (this.#life !== 'running') return
    this.#life = 'draining'
    this.#controller?.tellHealth()
  }

  /**
   * Opens a session for the process that holds the broker: it may do everything and brings no credentials.
   * @throws RTK_UNAVAILABLE when the broker is not running, RTK_LIMIT_EXCEEDED
   */
  async connectEmbedded(
    principal: Principal = { name: 'embedded', namespace: defaultNamespace },
  ): Promise<Session> {
    return this.#sessions.connectEmbedded(principal)
  }

  /** Counts since the broker was made; the uptime is of the present run. */
  stats(): BrokerStats {
    const own = brokerStats({
      topics: this.#topics.list().filter(({ ref }) => !isHiddenTopic(ref)),
      sessions: this.#sessions.size,
      traffic: this.#traffic,
      delivery: this.#options.delivery,
      uptimeMs: this.#uptimeMs(),
      storage: this.#options.storage.logs.counters,
    })
    return this.#controller?.sum(own) ?? own
  }

  health(): Health {
    const transports = this.#runners.map((runner) => runner.health)
    const troubled = [
      ...this.#supervision.troubled,
      ...this.#room.trouble,
      ...this.#options.delivery.trouble,
      ...this.#deadLetters.trouble,
      ...(this.#controller?.trouble ?? []),
    ]
    for (const topic of this.#topics.list()) {
      troubled.push(...topic.trouble)
      for (const partition of topic.partitions) troubled.push(...partition.trouble)
    }
    return brokerHealth(this.#life, this.#uptimeMs(), transports, troubled)
  }

  #makeController(threads: WorkerThreads): Controller {
    const { platform, delivery } = this.#options
    return new Controller({
      threads,
      platform,
      supervision: this.#supervision,
      delivery,
      topics: () => this.#topics,
      openSession: (principal) => this.#sessions.openFor(principal),
      health: () => this.health(),
    })
  }

  #makeTopics(offer: DurabilityOffer, expansion: Expansion): TopicRegistry {
    const { platform, limits, plugins: hooks, delivery, storage } = this.#options
    const { topicDefaults, verifyRecords } = this.#settings
    const defaults = parseTopicConfig(topicDefaults, defaultTopicConfig(offer.strongest, limits), limits)
    offer.levelFor(defaults.durability)
    return new TopicRegistry({
      store: storage.logs,
      state: storage.state,
      platform,
      limits,
      budget: new PublishBudget(limits),
      hooks,
      delivery,
      offer,
      defaults,
      traffic: this.#traffic,
      supervision: this.#supervision,
      builders: new BuilderPool({ checksum: platform.checksum }, sharedBuilders),
      expansion,
      verifyRecords,
      room: this.#room,
      producers: new ProducerStore(storage.state, platform.logger),
      placement: this.#controller?.placement ?? localPlacement,
      remembersIds: true,
      workers: this.#controller,
    })
  }

  #makeRetention(expansion: Expansion): Retention {
    const { platform, delivery, storage } = this.#options
    return new Retention({
      platform,
      intervalMs: this.#settings.retentionIntervalMs,
      timeIndex: storage.logs.supports.timeIndex,
      // The scheduler lets go of its log itself: what expires in it is none of its concern.
      topics: () => this.#topics.list().filter(({ ref }) => !isHiddenTopic(ref)),
      expansion,
      owedFrom: (topic, partition) => delivery.owedFrom(topic, partition),
      expiredOwedFrom: (topic, partition) => delivery.queues.expiredOwedFrom(topic, partition),
    })
  }

  #makeSessions(offer: DurabilityOffer, expansion: Expansion): SessionTable {
    const { platform, limits, plugins: hooks, delivery, authenticator, authorizer } = this.#options
    const scheduler = this.#scheduler
    const context = {
      topics: this.#topics,
      publisher: new Publisher({
        hooks,
        platform,
        limits,
        offer,
        traffic: this.#traffic,
        scheduler,
        expansion,
      }),
      delivery,
      scheduler,
      letters: this.#letters,
      hooks,
      limits,
      autoCreateTopics: this.#settings.autoCreateTopics,
      stats: () => ({ ...this.stats(), process: platform.diagnostics?.load() }),
      profiler: new Profiler(platform, hooks),
      topicStats: (topic: Topic) =>
        topicStats(
          topic,
          delivery.subscriberCount(topic) + (this.#controller?.subscriberCount(topic.id) ?? 0),
          delivery.deliveredCount(topic) + (this.#controller?.deliveredCount(topic.id) ?? 0),
        ),
      random: platform.random,
    }
    const bounded = { ...context, admission: this.#admission }
    const unbounded = { ...context, admission: undefined }
    return new SessionTable({
      authenticator,
      authorizer,
      hooks,
      platform,
      limits,
      admission: this.#admission,
      open: (id, principal, grants, admission, closed) =>
        new BrokerSession(id, principal, grants, admission === undefined ? unbounded : bounded, closed),
    })
  }

  #steps(): readonly LifecycleStep[] {
    const { storage, delivery, plugins } = this.#options
    const stopping = (): RatatoskrError =>
      new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; retry after a pause')
    return [
      { name: 'state store', start: () => storage.state.start(), stop: () => storage.state.stop() },
      { name: 'log store', start: () => storage.logs.start(), stop: () => storage.logs.stop() },
      {
        name: 'workers',
        start: () => this.#controller?.start(),
        stop: (deadlineMs) => this.#controller?.stop(deadlineMs),
      },
      { name: 'topics', start: () => this.#topics.load(), stop: () => this.#topics.close(stopping()) },
      // Stops after delivery, whose last checkpoints say which letters cannot come again.
      { name: 'dead letters', start: () => this.#deadLetters.start(), stop: () => this.#deadLetters.stop() },
      {
        name: 'delivery',
        start: () => delivery.start(this.#topics.list()),
        stop: () => delivery.stop(stopping()),
      },
      { name: 'topic clean-up', start: () => this.#topics.cleanUp(), stop: () => {} },
      { name: 'plugins', start: () => plugins.start(), stop: () => plugins.stop() },
      { name: 'retention', start: () => this.#retention.start(), stop: () => this.#retention.stop() },
      {
        name: 'scheduled messages',
        start: () => this.#scheduler.start(),
        stop: () => this.#scheduler.stop(),
      },
      { name: 'admission', start: () => {}, stop: () => this.#admission.stop() },
      { name: 'redrives', start: () => this.#letters.start(), stop: () => this.#letters.stop() },
      { name: 'sessions', start: () => this.#sessions.accept(), stop: () => this.#sessions.close() },
      {
        name: 'transports',
        start: () => this.#startTransports(),
        stop: (deadlineMs) => this.#stopTransports(deadlineMs),
      },
    ]
  }

  async #start(): Promise<void> {
    if (this.#life === 'running' || this.#life === 'draining') {
      this.#life = 'running'
      return
    }
    this.#life = 'starting'
    this.#startedAtMs = this.#options.platform.clock.monotonic()
    try {
      await this.#lifecycle.start(this.#options.limits.stopTimeoutMs)
      this.#life = 'running'
      this.#controller?.tellHealth()
    } catch (error) {
      this.#life = 'stopped'
      throw error
    }
  }

  async #stop(): Promise<void> {
    if (this.#life === 'stopped') return
    this.#life = 'stopping'
    this.#sessions.refuse()
    try {
      await this.#lifecycle.stop(this.#options.limits.stopTimeoutMs)
    } finally {
      this.#life = 'stopped'
    }
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const result = this.#last.then(run)
    this.#last = result.catch(() => {})
    return result
  }

  #uptimeMs(): number {
    return this.#life === 'stopped' ? 0 : this.#options.platform.clock.monotonic() - this.#startedAtMs
  }

  async #startTransports(): Promise<void> {
    const { transports, platform, limits } = this.#options
    this.#runners = transports.map(
      (transport) => new TransportRunner(transport, this.facade, platform, limits, this.#supervision),
    )
    const started: TransportRunner[] = []
    try {
      for (const runner of this.#runners) {
        await runner.start()
        started.push(runner)
      }
      await this.#controller?.serve(transports.map(({ address }) => address?.port ?? 0))
    } catch (error) {
      this.#runners = started
      await this.#stopTransports(limits.stopTimeoutMs).catch(() => {})
      throw error
    }
  }

  async #stopTransports(deadlineMs: number): Promise<void> {
    const drainMs = deadlineMs * drainShare
    const results = await Promise.allSettled([
      this.#controller?.stopServing(drainMs),
      ...this.#runners.map((runner) => runner.stop(drainMs)),
    ])
    this.#runners = []
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}
