/** One link of the simulated network: both ends of it, and what is under way between them. */
import type { Link } from 'ratatoskr/client'
import {
  type BatchSink,
  type Clock,
  type ConsumeOptions,
  type LeasedBatch,
  type LeasedSubscription,
  type LeaseRange,
  type LeaseSink,
  type MaybePromise,
  producerIdOf,
  type QueueCredit,
  RatatoskrError,
  type Session,
  type SubscribeOptions,
  type Subscription,
} from 'ratatoskr/ports'

/** What a link needs of its network. */
export interface LinkHost {
  readonly clock: Clock
  chance(fault: 'loseCall' | 'loseAnswer' | 'repeat' | 'disconnect'): boolean
  /** The time of the next message. */
  delayMs(): number
  /** How long the next loss goes unnoticed. */
  noticeMs(): number
  event(text: string): void
  /** Numbers the streams of all links of one end. */
  nextStream(): number
}

export interface LinkEnds {
  readonly host: LinkHost
  /** The clocks of the two processes: what arrives at one that is dead or stands still is not looked at. */
  readonly client: Clock
  readonly server: Clock
  readonly serverIsUp: () => boolean
  readonly ended: () => void
}

interface Pending {
  reject(error: RatatoskrError): void
}

interface CallOf {
  readonly name: string
  /** Calls of one stream arrive in order, and so do their answers; '' for a call of its own. */
  readonly stream: string
  readonly signal?: AbortSignal | undefined
  /** It may be carried out a second time without harm. */
  readonly repeatable?: boolean
}

/** Messages on their way in one direction of one stream: the first that was sent arrives first. */
class Lane {
  readonly #waiting: (() => void)[] = []
  #lastDueMs = 0

  send(clock: Clock, nowMs: number, delayMs: number, arrive: () => void): void {
    this.#lastDueMs = Math.max(this.#lastDueMs, nowMs + delayMs)
    this.#waiting.push(arrive)
    clock.after(this.#lastDueMs - nowMs, () => this.#waiting.shift()?.())
  }
}

const lost = (): RatatoskrError => new RatatoskrError('RTK_DISCONNECTED', 'the connection was lost')
const closedBefore = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the connection is closed')

export class SimulatedLink implements Link {
  readonly closed: Promise<RatatoskrError | undefined>
  readonly #closed = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #session: Session
  readonly #ends: LinkEnds
  readonly #lanes = new Map<string, Lane>()
  readonly #pending = new Set<Pending>()
  /** Subscriptions that have not ended, by what ends them on the client's side. */
  readonly #open = new Set<(reason: RatatoskrError) => void>()
  /** The client's side is over. */
  #over = false
  /** The broker's side is over. */
  #left = false
  /** Nothing gets through any more. */
  #broken = false

  constructor(session: Session, ends: LinkEnds) {
    this.#session = session
    this.#ends = ends
    this.closed = this.#closed.promise
  }

  brokerNow(): number {
    return this.#ends.server.now()
  }

  createTopic: Link['createTopic'] = (...args) => this.#ask('createTopic', (s) => s.createTopic(...args))
  deleteTopic: Link['deleteTopic'] = (...args) => this.#ask('deleteTopic', (s) => s.deleteTopic(...args))
  alterTopic: Link['alterTopic'] = (...args) => this.#ask('alterTopic', (s) => s.alterTopic(...args))
  listTopics: Link['listTopics'] = () => this.#read('listTopics', (s) => s.listTopics())
  topicExists: Link['topicExists'] = (...args) => this.#read('topicExists', (s) => s.topicExists(...args))
  describeTopic: Link['describeTopic'] = (...args) =>
    this.#read('describeTopic', (s) => s.describeTopic(...args))
  resolveTopic: Link['resolveTopic'] = (...args) => this.#read('resolveTopic', (s) => s.resolveTopic(...args))
  initProducer: Link['initProducer'] = () => this.#read('initProducer', (s) => s.initProducer())
  cancelScheduled: Link['cancelScheduled'] = (...args) =>
    this.#ask('cancelScheduled', (s) => s.cancelScheduled(...args))
  listScheduled: Link['listScheduled'] = (...args) =>
    this.#read('listScheduled', (s) => s.listScheduled(...args))
  deadLetters: Link['deadLetters'] = (...args) => this.#read('deadLetters', (s) => s.deadLetters(...args))
  redriveDeadLetters: Link['redriveDeadLetters'] = (...args) =>
    this.#ask('redriveDeadLetters', (s) => s.redriveDeadLetters(...args))
  purgeDeadLetters: Link['purgeDeadLetters'] = (...args) =>
    this.#ask('purgeDeadLetters', (s) => s.purgeDeadLetters(...args))
  commit: Link['commit'] = (...args) => this.#read('commit', (s) => s.commit(...args))
  seekGroup: Link['seekGroup'] = (...args) => this.#ask('seekGroup', (s) => s.seekGroup(...args))
  listGroups: Link['listGroups'] = (...args) => this.#read('listGroups', (s) => s.listGroups(...args))
  describeGroup: Link['describeGroup'] = (...args) =>
    this.#read('describeGroup', (s) => s.describeGroup(...args))
  deleteGroup: Link['deleteGroup'] = (...args) => this.#ask('deleteGroup', (s) => s.deleteGroup(...args))
  offsets: Link['offsets'] = (...args) => this.#read('offsets', (s) => s.offsets(...args))
  topicStats: Link['topicStats'] = (...args) => this.#read('topicStats', (s) => s.topicStats(...args))
  brokerStats: Link['brokerStats'] = () => this.#read('brokerStats', (s) => s.brokerStats())
  settle: Link['settle'] = (...args) => this.#read('settle', async (s) => s.settle(...args))
  createQueue: Link['createQueue'] = (...args) => this.#read('createQueue', (s) => s.createQueue(...args))
  alterQueue: Link['alterQueue'] = (...args) => this.#ask('alterQueue', (s) => s.alterQueue(...args))
  describeQueue: Link['describeQueue'] = (...args) =>
    this.#read('describeQueue', (s) => s.describeQueue(...args))
  pauseQueue: Link['pauseQueue'] = (...args) => this.#read('pauseQueue', (s) => s.pauseQueue(...args))
  heartbeat: Link['heartbeat'] = (...args) => this.#read('heartbeat', async (s) => s.heartbeat(...args))
  leaveQueue: Link['leaveQueue'] = (...args) => this.#read('leaveQueue', async (s) => s.leaveQueue(...args))

  // What carries a signal does not take it along: a call that was cancelled goes on at the broker's side.
  fetch: Link['fetch'] = (topic, request, call) =>
    this.#call({ name: 'fetch', stream: '', signal: call?.signal }, (s) => s.fetch(topic, request))
  take: Link['take'] = (topic, request, call) =>
    this.#call({ name: 'take', stream: '', signal: call?.signal }, async (s) => {
      const taken = await s.take(topic, request)
      for (const batch of this.#ends.serverIsUp() ? taken.batches : []) {
        this.#ends.host.event(
          `taking of ${request.group} is sent ${batchText(batch)} for ${batch.leaseMs} ms`,
        )
      }
      return taken
    })

  publishBatch: Link['publishBatch'] = (topic, partition, batch, { signal, ...options } = {}) => {
    const sent = batch.slice() // the sender has its bytes back, as after a write to a socket
    const call = {
      name: `publishBatch ${topic}/${partition}`,
      stream: 'publish',
      signal,
      repeatable: producerIdOf(sent, 0) !== -1,
    }
    return this.#call(call, async (s) => s.publishBatch(topic, partition, sent.slice(), options))
  }

  publishMany: Link['publishMany'] = (topic, messages, { signal, ...options } = {}) =>
    this.#call({ name: `publishMany ${topic}`, stream: 'publish', signal }, (s) =>
      s.publishMany(topic, messages, options),
    )

  async subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription> {
    const stream = this.#newStream()
    const ended = this.#opened(sink)
    const tell = this.#telling(stream, ended)
    const remote = await this.#call({ name: `subscribe ${topic}`, stream }, (session) =>
      session.subscribe(topic, options, {
        deliver: (delivery) => tell(() => void sink.deliver(delivery)),
        assigned: (partitions) => tell(() => sink.assigned?.(partitions)),
        ended: (reason) => tell(() => ended(reason)),
      }),
    )
    return {
      id: remote.id,
      topic: remote.topic,
      group: remote.group,
      member: remote.member,
      grant: (credit) => this.#post(stream, () => remote.grant(credit)),
      commit: (offsets) => this.#call({ name: 'commit', stream }, () => remote.commit(offsets)),
      close: () => this.#call({ name: 'unsubscribe', stream }, () => remote.close()),
    }
  }

  async consume(topic: string, options: ConsumeOptions, sink: LeaseSink): Promise<LeasedSubscription> {
    const stream = this.#newStream()
    const ended = this.#opened(sink)
    const tell = this.#telling(stream, ended)
    const { group } = options
    const { host, serverIsUp } = this.#ends
    /** A broker that was killed may go on for a moment: nobody is to hear of that. */
    const event = (text: string): void => {
      if (serverIsUp()) host.event(text)
    }
    /** Losses and ends are told of twice: whoever judges may ask whether a word was under way. */
    const say = (word: string, arrive: () => void): void => {
      event(`${stream} of ${group} is told ${word}`)
      tell(() => {
        host.event(`${stream} of ${group} hears ${word}`)
        arrive()
      })
    }
    const granted = ({ messages, bytes }: QueueCredit): void =>
      event(`${stream} of ${group} is granted ${messages} messages, ${bytes} bytes`)
    const remote = await this.#call({ name: `consume ${topic} ${group}`, stream }, (session) => {
      if (options.credit !== undefined) granted(options.credit)
      return session.consume(topic, options, {
        deliver: (batch) => {
          event(`${stream} of ${group} is sent ${batchText(batch)}`)
          tell(() => void sink.deliver(batch))
        },
        lost: (ranges, reason) =>
          say(`${reason} ${ranges.map(rangeText).join(' ')}`, () => sink.lost(ranges, reason)),
        assigned: (partitions) => tell(() => sink.assigned?.(partitions)),
        ended: (reason) => say('the end', () => ended(reason)),
      })
    })
    return {
      id: remote.id,
      topic: remote.topic,
      group: remote.group,
      member: remote.member,
      config: remote.config,
      memberTimeoutMs: remote.memberTimeoutMs,
      beginsFrom: remote.beginsFrom,
      grant: (credit) => {
        event(`grant ${credit.messages} messages, ${credit.bytes} bytes`)
        this.#post(stream, () => {
          granted(credit)
          remote.grant(credit)
        })
      },
      heartbeat: () => this.#post(stream, () => remote.heartbeat()),
      settle: (settlements) => {
        const name = `settle ${settlements.map((one) => `${one.action} ${rangeText(one)}`).join(' ')}`
        return this.#call({ name, stream, repeatable: true }, async () => {
          for (const one of settlements) {
            if (one.action === 'begin') event(`${stream} of ${group} begins ${rangeText(one)}`)
          }
          return remote.settle(settlements)
        })
      },
      close: () => this.#call({ name: 'leave', stream }, () => remote.close()),
    }
  }

  async close(): Promise<void> {
    if (this.#over) return
    this.#end(closedBefore(), undefined)
  }

  /** The link is lost: nothing gets through, and each side notices in its time. */
  lose(): void {
    if (this.#broken) return
    this.#broken = true
    const { host, client } = this.#ends
    host.event('link lost')
    client.after(host.noticeMs(), () => this.#end(lost(), lost()))
    this.#leaveIn(host.noticeMs())
  }

  /** The client's side is gone without a word. */
  vanish(): void {
    this.#broken = true
    this.#over = true
    this.#pending.clear()
    this.#open.clear()
    this.#ends.ended()
    this.#leaveIn(this.#ends.host.noticeMs())
  }

  #newStream(): string {
    return `subscription ${this.#ends.host.nextStream()}`
  }

  /** Ends the client's side: everything that waits is told `error`. */
  #end(error: RatatoskrError, reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#ends.host.event(`link over ${error.code}`)
    for (const { reject } of [...this.#pending]) reject(error)
    this.#pending.clear()
    for (const ended of [...this.#open]) ended(lost())
    this.#closed.resolve(reason)
    this.#ends.ended()
    this.#leaveIn(this.#ends.host.delayMs())
  }

  /** The broker's side ends later: until then what was sent before may still arrive. */
  #leaveIn(delayMs: number): void {
    this.#ends.server.after(delayMs, () => {
      if (this.#left) return
      this.#left = true
      void this.#session.close().catch(() => {})
    })
  }

  #opened(sink: BatchSink | LeaseSink): (reason: RatatoskrError | undefined) => void {
    const ended = (reason: RatatoskrError | undefined): void => {
      if (this.#open.delete(ended)) sink.ended(reason)
    }
    this.#open.add(ended)
    return ended
  }

  /** What the broker says on a subscription's stream. */
  #telling(
    stream: string,
    ended: (reason: RatatoskrError | undefined) => void,
  ): (arrive: () => void) => void {
    return (arrive) =>
      this.#down(stream, () => {
        if (this.#open.has(ended)) arrive()
      })
  }

  #ask<T>(name: string, run: (session: Session) => MaybePromise<T>): Promise<T> {
    return this.#call({ name, stream: '' }, run)
  }

  #read<T>(name: string, run: (session: Session) => MaybePromise<T>): Promise<T> {
    return this.#call({ name, stream: '', repeatable: true }, run)
  }

  #call<T>(call: CallOf, run: (session: Session) => MaybePromise<T>): Promise<T> {
    if (this.#over) return Promise.reject(closedBefore())
    const { host, client } = this.#ends
    const { name, stream, signal, repeatable = false } = call
    return new Promise((resolve, reject) => {
      const pending: Pending = { reject: (error) => settle(() => reject(error)) }
      const settle = (how: () => void): void => {
        if (!this.#pending.delete(pending)) return
        signal?.removeEventListener('abort', abort)
        how()
      }
      const abort = (): void => pending.reject(abortError(signal as AbortSignal))
      this.#pending.add(pending)
      signal?.addEventListener('abort', abort, { once: true })
      if (signal?.aborted === true) abort()
      const callLost = host.chance('loseCall')
      const answerLost = !callLost && host.chance('loseAnswer')
      const fate = callLost ? ' is lost' : answerLost ? ': its answer will be lost' : ''
      host.event(`${name}${fate}`)
      // What is lost on the stream of a subscription takes the link with it: nothing else tells its other end.
      const tears = (callLost || answerLost) && stream.startsWith('subscription')
      if (tears || host.chance('disconnect')) this.lose()
      else if (callLost || answerLost) client.after(host.noticeMs(), () => pending.reject(lost()))
      if (callLost) return
      const answered = (answer: () => void): void => {
        if (!answerLost) this.#down(stream, () => settle(answer))
      }
      this.#up(stream, async () => {
        try {
          const value = await run(this.#session)
          answered(() => resolve(value))
        } catch (error) {
          answered(() => reject(error))
        }
      })
      if (!repeatable || !host.chance('repeat')) return
      this.#ends.server.after(host.noticeMs(), () => {
        // Also one that was refused, and might be taken now.
        if (this.#left || !this.#ends.serverIsUp()) return
        host.event(`${name} arrives again`)
        void (async () => run(this.#session))().catch(() => {})
      })
    })
  }

  /** Sends what has no answer. */
  #post(stream: string, run: () => void): void {
    if (!this.#over) this.#up(stream, async () => run())
  }

  #up(stream: string, arrive: () => Promise<void>): void {
    if (this.#broken) return
    this.#send(`up ${stream}`, this.#ends.server, () => {
      if (!this.#left && this.#ends.serverIsUp()) arrive().catch(() => {})
    })
  }

  #down(stream: string, arrive: () => void): void {
    if (this.#broken || !this.#ends.serverIsUp()) return
    this.#send(`down ${stream}`, this.#ends.client, () => {
      if (!this.#over) arrive()
    })
  }

  #send(laneName: string, clock: Clock, arrive: () => void): void {
    const { host } = this.#ends
    const delayMs = host.delayMs()
    if (laneName.endsWith(' ')) {
      clock.after(delayMs, arrive)
      return
    }
    let lane = this.#lanes.get(laneName)
    if (lane === undefined) {
      lane = new Lane()
      this.#lanes.set(laneName, lane)
    }
    lane.send(clock, host.clock.monotonic(), delayMs, arrive)
  }
}

const rangeText = ({ partition, from, to, lease }: LeaseRange): string =>
  `${partition}:${from}-${to} l${lease}`

const batchText = ({ partition, firstOffset: from, lastOffset, lease, recordCount, bytes }: LeasedBatch) =>
  `${rangeText({ partition, from, to: lastOffset + 1, lease })}, ${recordCount} messages, ${bytes.length} bytes`

function abortError({ reason }: AbortSignal): RatatoskrError {
  const late = reason instanceof Error && reason.name === 'TimeoutError'
  return new RatatoskrError(late ? 'RTK_TIMEOUT' : 'RTK_CANCELLED', 'the call was cancelled by its signal')
}
