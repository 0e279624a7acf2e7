/**
 * The workers as the controller sees them: it starts them and starts them again, tells them of topics, says where partitions
 * are, and does for their sessions what only it can.
 */
import { RatatoskrError } from '../../domain/errors.ts'
import { isHiddenTopic } from '../../domain/schedule/scheduling.ts'
import type {
  BrokerPlace,
  BrokerStats,
  ComponentHealth,
  Health,
  Platform,
  Principal,
  Session,
} from '../../ports/index.ts'
import { within } from '../deadline.ts'
import { Partition } from '../partitions/partition.ts'
import type { PartitionPlacement } from '../partitions/topic-partition.ts'
import type { Delivery } from '../seams.ts'
import type { Supervision, Supervisor } from '../supervision/supervisor.ts'
import type { Topic } from '../topics/topic.ts'
import type { TopicAudience, TopicRegistry } from '../topics/topic-registry.ts'
import { errorToMesh } from './mesh-errors.ts'
import type { MeshService } from './mesh-link.ts'
import type { MeshOperations, TopicNews, WorkerCounts } from './mesh-operations.ts'
import { partitionService } from './partition-host.ts'
import { Peer } from './peer.ts'
import { PlacedPartitions } from './placed-partitions.ts'
import { ownerAmong } from './placement.ts'
import { RemotePartition } from './remote-partition.ts'
import { SessionHost } from './session-host.ts'
import type { WorkerThread, WorkerThreads } from './worker-threads.ts'

export interface ControllerParts {
  readonly threads: WorkerThreads
  readonly platform: Platform
  readonly supervision: Supervision
  readonly delivery: Pick<Delivery, 'logOpened'>
  topics(): TopicRegistry
  openSession(principal: Principal): Promise<Session>
  health(): Health
}

/** How often workers are asked for a sign of life, and after how much silence one counts as stuck. */
const [heartbeatMs, stuckMs] = [1_000, 10_000]

/** One worker that is not the controller. */
interface Hand {
  readonly index: number
  readonly peer: Peer
  readonly sessions: SessionHost
  readonly supervisor: Supervisor
  thread: WorkerThread | undefined
  /** It knows the topics, so that others may turn to it. */
  ready: boolean
  counts: WorkerCounts | undefined
}

const done = { value: undefined }

export class Controller implements TopicAudience {
  readonly #parts: ControllerParts
  readonly #placed = new PlacedPartitions()
  readonly #hands: readonly Hand[]
  /** What the way in through this worker says of itself. */
  readonly place: BrokerPlace
  #heartbeat: Disposable | undefined
  /** Ports to listen on, once workers may serve. */
  #ports: readonly number[] | undefined
  #stopping = false

  constructor(parts: ControllerParts) {
    this.#parts = parts
    const { platform, threads } = parts
    this.place = { broker: platform.random.uuid(), worker: 0, workers: threads.count }
    this.#hands = Array.from({ length: parts.threads.count - 1 }, (_, place) => {
      const index = place + 1
      const peer = new Peer(index)
      const hand: Hand = {
        index,
        peer,
        sessions: new SessionHost(peer, (principal) => parts.openSession(principal)),
        supervisor: parts.supervision.supervise({
          name: `worker ${index}`,
          restart: () => this.#bringUp(hand),
        }),
        thread: undefined,
        ready: false,
        counts: undefined,
      }
      return hand
    })
  }

  /** Where partitions are: the scheduler's own log is the controller's. */
  readonly placement: PartitionPlacement = (index, owner, context) => {
    const owning = this.#ownerOf(owner.id, index, owner.ref)
    const address = { topicId: owner.id, partition: index }
    const cells = this.#placed.cellsOf(address)
    const hand = this.#hands[owning - 1]
    const made =
      hand === undefined
        ? new Partition(index, owner, context, { worker: owning, cells })
        : new RemotePartition(index, owner, context, {
            peer: hand.peer,
            cells,
            life: {
              open: async (supervised) => {
                // One that is away opens its partitions when it comes back.
                if (supervised && !hand.peer.connected) return []
                const topic = owner as Topic
                const news = this.#newsOf(topic, Math.max(topic.config.partitions, index + 1))
                const takes = { ...news, partition: index, supervised }
                return (await hand.peer.call('openPartition', takes)).value
              },
              close: async (reason) => {
                if (!hand.peer.connected) return
                const { deleted } = owner
                await hand.peer.call('closePartition', { ...address, reason: errorToMesh(reason), deleted })
              },
            },
          })
    this.#placed.set(address, made)
    return made
  }

  /** Starts the workers. @throws why one of them did not start */
  async start(): Promise<void> {
    this.#stopping = false
    const started = await Promise.allSettled(this.#hands.map((hand) => this.#bringUp(hand)))
    for (const result of started) {
      if (result.status === 'fulfilled') continue
      await this.stop(0)
      throw result.reason
    }
    this.#beat()
  }

  /** Has the workers listen where the controller does. */
  async serve(ports: readonly number[]): Promise<void> {
    for (const topic of this.#parts.topics().list()) await this.shown(topic)
    await this.#tellAll(async ({ peer }) => {
      await peer.call('sweep', undefined)
      await peer.call('serve', { ports, broker: this.place.broker })
    })
    this.#ports = ports
  }

  /** Tells the workers how the broker is: at once, where waiting for the next sign of life would be too late. */
  tellHealth(): void {
    const health = this.#parts.health()
    for (const { peer } of this.#hands) peer.tell('heartbeat', { health })
  }

  async stopServing(deadlineMs: number): Promise<void> {
    this.#ports = undefined
    await this.#tellAll(({ peer }) => peer.call('stopServing', { deadlineMs }))
    await Promise.all(this.#hands.map(({ sessions }) => sessions.close()))
  }

  /** Ends the workers, those that do not end by themselves in the time that is given. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true
    this.#heartbeat?.[Symbol.dispose]()
    await Promise.all(
      this.#hands.map(async (hand) => {
        await hand.supervisor.stop()
        const { thread } = hand
        if (thread === undefined) return
        thread.stop()
        try {
          await within(this.#parts.platform.clock, deadlineMs, thread.ended)
        } catch {
          await thread.terminate()
        }
      }),
    )
  }

  async shown(topic: Topic): Promise<void> {
    if (isHiddenTopic(topic.ref)) return
    const news = this.#newsOf(topic)
    await this.#tellAll(({ peer }) => peer.call('showTopic', news))
  }

  async hidden(topic: Topic): Promise<void> {
    await this.#tellAll(({ peer }) => peer.call('hideTopic', { topicId: topic.id }))
    this.#placed.forget(topic.id)
  }

  /** How the parts of the workers are that are not well. */
  get trouble(): readonly ComponentHealth[] {
    return this.#hands.flatMap(({ index, counts }) =>
      (counts?.components ?? []).map((one) => ({ ...one, name: `worker ${index}: ${one.name}` })),
    )
  }

  /** The controller's counts and those of all workers together. */
  sum(own: BrokerStats): BrokerStats {
    return this.#hands.reduce(
      (sum, { counts }) => (counts === undefined ? sum : added(sum, counts.stats)),
      own,
    )
  }

  subscriberCount(topicId: string): number {
    return this.#counted('subscribers', topicId)
  }

  deliveredCount(topicId: string): number {
    return this.#counted('delivered', topicId)
  }

  #counted(what: 'subscribers' | 'delivered', topicId: string): number {
    let sum = 0
    for (const { counts } of this.#hands) {
      for (const [id, count] of counts?.[what] ?? []) if (id === topicId) sum += count
    }
    return sum
  }

  #ownerOf(topicId: string, partition: number, ref: Topic['ref']): number {
    return ownerAmong(ref, topicId, partition, this.#parts.threads.count)
  }

  #newsOf(topic: Topic, partitions = topic.config.partitions): TopicNews {
    const { id: topicId } = topic
    const cells = Array.from({ length: partitions }, (_, partition) =>
      this.#placed.memoryOf({ topicId, partition }),
    )
    return { ref: topic.ref, record: topic.record(), cells }
  }

  /** Those that are away are told everything when they come back. */
  async #tellAll(tell: (hand: Hand) => Promise<unknown>): Promise<void> {
    const told = this.#hands.filter(({ peer }) => peer.connected)
    await Promise.allSettled(
      told.map(async (hand) => {
        try {
          await tell(hand)
        } catch (error) {
          if (!hand.peer.connected) return
          this.#parts.platform.logger.error('a worker did not do what the controller told it', {
            worker: hand.index,
            error,
          })
        }
      }),
    )
  }

  async #bringUp(hand: Hand): Promise<void> {
    const thread = await this.#parts.threads.spawn(hand.index)
    hand.thread = thread
    const { service, serveAppend } = partitionService(this.#placed, hand.peer)
    hand.peer.connect(thread.channel, { ...service, ...this.#serviceFor(hand) }, serveAppend)
    void thread.ended.then((error) => this.#ended(hand, thread, error))
    for (const topic of this.#parts.topics().list()) {
      if (isHiddenTopic(topic.ref)) continue
      const news = this.#newsOf(topic)
      const own = topic.partitions.filter(
        ({ index }) => this.#ownerOf(topic.id, index, topic.ref) === hand.index,
      )
      await Promise.all(
        own.map(({ index }) =>
          hand.peer.call('openPartition', { ...news, partition: index, supervised: true }),
        ),
      )
      await hand.peer.call('showTopic', news)
    }
    hand.ready = true
    for (const other of this.#hands) {
      if (other !== hand && other.ready) this.#parts.threads.connect(hand.index, other.index)
    }
    if (this.#ports !== undefined) {
      await hand.peer.call('serve', { ports: this.#ports, broker: this.place.broker })
    }
  }

  #ended(hand: Hand, thread: WorkerThread, error: unknown): void {
    if (hand.thread !== thread) return
    hand.thread = undefined
    hand.ready = false
    hand.counts = undefined
    hand.peer.disconnect()
    for (const topic of this.#parts.topics().list()) {
      for (const { index } of topic.partitions) {
        if (this.#ownerOf(topic.id, index, topic.ref) !== hand.index) continue
        this.#placed.cellsOf({ topicId: topic.id, partition: index }).writeState('recovering')
      }
    }
    void hand.sessions.close()
    if (!this.#stopping) hand.supervisor.failed(error ?? workerEnded(hand.index))
  }

  #beat(): void {
    const { clock } = this.#parts.platform
    for (const hand of this.#hands) {
      const { thread } = hand
      if (thread === undefined || !hand.peer.connected) continue
      const alive = hand.peer.call('heartbeat', { health: this.#parts.health() })
      within(clock, stuckMs, alive).catch(() => {
        if (hand.thread !== thread) return
        this.#parts.platform.logger.error('a worker gives no sign of life and is ended', {
          worker: hand.index,
        })
        void thread.terminate()
      })
    }
    this.#heartbeat = clock.after(heartbeatMs, () => this.#beat())
  }

  #serviceFor(hand: Hand): MeshService<MeshOperations> {
    const { delivery } = this.#parts
    return {
      ...hand.sessions.service,
      logOpened: async ({ topicId, text, partition, endOffset }) => {
        await delivery.logOpened({ id: topicId, text }, partition, endOffset)
        return done
      },
      ensureTopic: async ({ ref, principal }) => {
        await this.#parts.topics().ensure(ref, principal)
        return done
      },
      counts: (counts) => {
        hand.counts = counts
        for (const { ranges, ...address } of counts.damaged) {
          const partition = this.#placed.remote(address)
          if (partition !== undefined) partition.damaged = ranges
        }
        return done
      },
    }
  }
}

const workerEnded = (index: number): RatatoskrError =>
  new RatatoskrError('RTK_UNAVAILABLE', `worker ${index} has ended and is started again`)

/** Topics, partitions and uptime are those of the controller, which knows all. */
const added = (sum: BrokerStats, more: BrokerStats): BrokerStats => ({
  ...sum,
  sessions: sum.sessions + more.sessions,
  subscriptions: sum.subscriptions + more.subscriptions,
  messagesPublished: sum.messagesPublished + more.messagesPublished,
  bytesPublished: sum.bytesPublished + more.bytesPublished,
  messagesDelivered: sum.messagesDelivered + more.messagesDelivered,
  bytesDelivered: sum.bytesDelivered + more.bytesDelivered,
  messagesSkipped: sum.messagesSkipped + more.messagesSkipped,
  messagesDropped: sum.messagesDropped + more.messagesDropped,
  storage: {
    appends: sum.storage.appends + more.storage.appends,
    appendedBytes: sum.storage.appendedBytes + more.storage.appendedBytes,
    syncs: sum.storage.syncs + more.storage.syncs,
    hotReads: sum.storage.hotReads + more.storage.hotReads,
    coldReads: sum.storage.coldReads + more.storage.coldReads,
    hotBytes: sum.storage.hotBytes + more.storage.hotBytes,
  },
})
