/**
 * Links that are cut at a chosen moment: before or after any call of theirs, or of what they deliver to. What was asked before
 * the cut may have happened at the broker while its answer is lost, as over a network.
 */
import {
  type LeasedSubscription,
  type LeaseSink,
  type MaybePromise,
  RatatoskrError,
  type Session,
} from '../../ports/index.ts'
import type { Link } from '../link.ts'

/** Counts the moments at which a link may be cut, and cuts at one of them. */
export class Fate {
  /** Names of the moments so far. */
  readonly moments: string[] = []
  /** At which moment to cut; never without. */
  readonly cutAt: number | undefined
  /** Told of the cut. */
  cut: () => void = () => {}

  constructor(cutAt: number | undefined) {
    this.cutAt = cutAt
  }

  moment(name: string): void {
    this.moments.push(name)
    if (this.moments.length - 1 === this.cutAt) this.cut()
  }
}

const lost = (): RatatoskrError => new RatatoskrError('RTK_DISCONNECTED', 'the test cut the link')

/** The link, with the calls of queue groups made mortal. */
export function mortalLink(inner: Link, fate: Fate): Link {
  const ended = Promise.withResolvers<RatatoskrError | undefined>()
  const sinks = new Set<LeaseSink>()
  let dead = false
  const die = (): void => {
    if (dead) return
    dead = true
    void inner.close().catch(() => {})
    ended.resolve(lost())
    for (const sink of sinks) sink.ended(lost())
  }
  // The link that is open when the moment comes is the one that is cut.
  fate.cut = die
  void inner.closed.then(ended.resolve)

  /** A call with a moment before it and one before its answer. */
  const around = <T>(name: string, run: () => MaybePromise<T>): MaybePromise<T> => {
    fate.moment(`before ${name}`)
    if (dead) return Promise.reject(lost())
    const answered = (value: T): MaybePromise<T> => {
      fate.moment(`after ${name}`)
      return dead ? Promise.reject(lost()) : value
    }
    const result = run()
    return result instanceof Promise ? result.then(answered) : answered(result)
  }
  /** The same for what has no answer. */
  const tell = (name: string, run: () => void): void => {
    if (dead) return
    fate.moment(`before ${name}`)
    if (dead) return
    run()
    fate.moment(`after ${name}`)
  }

  const mortalSink = (sink: LeaseSink): LeaseSink => ({
    deliver: (batch) => tell('deliver', () => void sink.deliver(batch)),
    lost: (ranges, reason) => tell('lost', () => sink.lost(ranges, reason)),
    assigned: (partitions) => tell('assigned', () => sink.assigned?.(partitions)),
    ended: (reason) => {
      if (!dead && sinks.delete(sink)) sink.ended(reason)
    },
  })
  const mortalMember = (member: LeasedSubscription): LeasedSubscription => ({
    id: member.id,
    topic: member.topic,
    group: member.group,
    member: member.member,
    config: member.config,
    memberTimeoutMs: member.memberTimeoutMs,
    beginsFrom: member.beginsFrom,
    grant: (credit) => tell('grant', () => member.grant(credit)),
    heartbeat: () => tell('heartbeat', () => member.heartbeat()),
    settle: (settlements) => around('settle', () => member.settle(settlements)),
    close: async () => {
      await around('leave', () => member.close())
    },
  })
  const consume: Session['consume'] = async (topic, options, sink) => {
    const joined = await around('consume', () => {
      sinks.add(sink)
      return inner.consume(topic, options, mortalSink(sink))
    })
    return mortalMember(joined)
  }
  return new Proxy(inner, {
    get(target, name: keyof Link) {
      if (name === 'consume') return consume
      if (name === 'closed') return ended.promise
      if (name === 'settle') {
        const settle: Link['settle'] = (...args) => around('settle again', () => target.settle(...args))
        return settle
      }
      const value: unknown = target[name]
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
