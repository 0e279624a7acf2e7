/**
 * The way into every operation of a session that is about a topic: open? lawful name? permitted? Only then may it show
 * whether the topic exists. An operation gives its name, from which `permissions.ts` knows what it needs, and gets what it
 * works on.
 */
import { deadLetterRefOf } from '../domain/dead-letters/dead-letter-topic.ts'
import { RatatoskrError } from '../domain/errors.ts'
import {
  assertLabel,
  formatTopicRef,
  isReservedTopicName,
  parseTopicRef,
  quoteForMessage,
  type TopicRef,
} from '../domain/names.ts'
import {
  equalQueueConfigs,
  parseQueueChanges,
  parseQueueSettings,
} from '../domain/queue/queue-config-rules.ts'
import { isHiddenTopic } from '../domain/schedule/scheduling.ts'
import { queueDefaultsOf } from '../domain/topic-config.ts'
import { jsonLease } from '../domain/wire/requests-json.ts'
import type {
  CallOptions,
  Grants,
  LeaseProof,
  MaybePromise,
  Principal,
  PublishOptions,
  Resource,
  StartPosition,
  SubscribeOptions,
} from '../ports/index.ts'
import type { Admission } from './admission/admission.ts'
import { cancellable, throwIfAborted } from './calls.ts'
import { isPromise } from './maybe-promise.ts'
import { type GroupOperation, PermissionCheck, type TopicOperation, topicResource } from './permissions.ts'
import type { Delivery, Hooks } from './seams.ts'
import { sessionClosedError } from './session-subscriptions.ts'
import type { Topic } from './topics/topic.ts'
import { type TopicRegistry, topicNotFound } from './topics/topic-registry.ts'

/** What the gate asks of the broker. */
export interface GateContext {
  readonly topics: Pick<TopicRegistry, 'get' | 'ensure'>
  readonly delivery: Delivery
  readonly hooks: Hooks
  readonly autoCreateTopics: boolean
  /** Undefined for who is never refused for the broker's load. */
  readonly admission: Admission | undefined
}

/** A topic as a caller named it; kept, so that a name is parsed once a session and not once a batch. */
interface NamedTopic {
  readonly ref: TopicRef
  readonly resource: Resource
  /** The topic when it was last looked up. */
  topic: Topic | undefined
}

/** Names that a session remembers. */
const namesMax = 4_096

export class SessionGate {
  readonly permissions: PermissionCheck
  readonly #principal: Principal
  readonly #context: GateContext
  readonly #names = new Map<string, NamedTopic>()
  #closed = false

  constructor(principal: Principal, grants: Grants, context: GateContext) {
    this.permissions = new PermissionCheck(principal, grants, context.hooks)
    this.#principal = principal
    this.#context = context
  }

  /** From here on nothing is let in. */
  close(): void {
    this.#closed = true
    this.#names.clear()
  }

  /** @throws RTK_CLOSED */
  assertOpen(): void {
    if (this.#closed) throw sessionClosedError()
  }

  /** The name of a topic that is to be made. @throws RTK_TOPIC_NAME_INVALID when it is one of the broker's own */
  nameForCreating(operation: TopicOperation, text: string): TopicRef {
    const { ref } = this.#enter(operation, text)
    assertClientMayName(ref)
    return ref
  }

  /** The name of a topic that is to be changed, deleted or written to, and need not exist. */
  nameForChanging(operation: TopicOperation, text: string): TopicRef {
    return this.#enterChanging(operation, text).ref
  }

  /** The topic, when there is one. */
  topicIfAny(operation: TopicOperation, text: string): Topic | undefined {
    return this.#live(this.#enter(operation, text))
  }

  /** @throws RTK_TOPIC_NOT_FOUND */
  topic(operation: TopicOperation, text: string, call?: CallOptions): Topic {
    throwIfAborted(call?.signal)
    return this.#existing(this.#enter(operation, text))
  }

  /** The topic of a group, which need not exist. @throws RTK_TOPIC_NOT_FOUND, RTK_INVALID_ARGUMENT when the name is none */
  topicOfGroup(operation: GroupOperation, text: string, group: string): Topic {
    const named = this.#enter(operation, text)
    this.#checkGroup(operation, named.ref, group)
    return this.#existing(named)
  }

  /** The topic to subscribe to, alone or as a member of a group; created on the way when that is allowed. */
  async topicToSubscribe(
    operation: GroupOperation,
    text: string,
    options: Pick<SubscribeOptions, 'group' | 'member' | 'from'>,
  ): Promise<Topic> {
    const named = this.#enter(operation, text)
    if (options.group !== undefined) this.#checkGroup(operation, named.ref, options.group)
    if (options.member !== undefined) assertLabel('member', options.member)
    const live = this.#live(named)
    if (live !== undefined) return live
    // A new topic has no such offset: it would be made for nothing.
    if (isReservedTopicName(named.ref.name) || isBehindFirst(options.from)) throw topicNotFound(named.ref)
    const created = await this.#ensured(named)
    this.assertOpen()
    return created
  }

  /** The topic to publish to; created on the way when that is allowed. */
  async topicToPublish(operation: TopicOperation, text: string): Promise<Topic> {
    return this.#ensured(this.#enterChanging(operation, text))
  }

  /** The topic to publish to, when it is there already. */
  topicToPublishIfAny(operation: TopicOperation, text: string): Topic | undefined {
    const named = this.#enterChanging(operation, text)
    this.#context.admission?.assertRoom()
    return this.#live(named)
  }

  /** Publishes to a topic, and lets the caller go when he cancels; at once when the topic is there already. */
  publish<T>(
    operation: TopicOperation,
    text: string,
    options: PublishOptions | undefined,
    run: (topic: Topic, mayStore: (() => void) | undefined) => MaybePromise<T>,
  ): MaybePromise<T> {
    const signal = options?.signal
    throwIfAborted(signal)
    const named = this.#enterChanging(operation, text)
    this.#context.admission?.assertRoom()
    const live = this.#live(named)
    const mayStore = options?.lease === undefined ? undefined : this.#whileHeld(options.lease)
    const result =
      live === undefined ? this.#ensured(named).then((topic) => run(topic, mayStore)) : run(live, mayStore)
    return signal !== undefined && isPromise(result) ? cancellable(result as Promise<T>, signal) : result
  }

  /** Where the letters are, and whose: they are messages of their topic, which the caller must be allowed to read as well. */
  deadLetters(
    operation: TopicOperation,
    topic: string,
    lettersOf: (source: TopicRef) => TopicRef,
    call: CallOptions | undefined,
  ): { readonly source: TopicRef; readonly of: TopicRef } {
    throwIfAborted(call?.signal)
    const { ref: source } = this.#enter(operation, topic)
    const of = lettersOf(source)
    this.#enter('deadLetters', formatTopicRef(of))
    return { source, of }
  }

  /**
   * Settings that come with a call are the group's already, or would be if it were new; otherwise they are the caller's to set.
   * @throws RTK_PERMISSION_DENIED, RTK_INVALID_ARGUMENT
   */
  assertMaySet(topic: Topic, group: string, given: unknown): void {
    if (given !== undefined) this.assertMayAlter(topic, group, parseQueueSettings(given))
  }

  /** The same for changes, which may also take settings back. @throws RTK_PERMISSION_DENIED, RTK_INVALID_ARGUMENT */
  assertMayAlter(topic: Topic, group: string, changes: unknown): void {
    const defaults = queueDefaultsOf(topic.config)
    const known = this.#context.delivery.queues.configOf(topic, group) ?? defaults
    const { set, unset } = parseQueueChanges(changes)
    const back = Object.fromEntries(unset.map((name) => [name, defaults[name]]))
    const wished = { ...known, ...back, ...set }
    if (equalQueueConfigs(wished, known)) return
    this.permissions.group('alterQueue', topic.ref, group)
    this.#assertMaySendTo(topic.ref, wished.deadLetterTopic, known.deadLetterTopic)
  }

  /** Settings that a topic has for its groups. @throws RTK_PERMISSION_DENIED, RTK_INVALID_ARGUMENT */
  assertMaySetForGroups(ref: TopicRef, given: unknown): void {
    if (given === undefined) return
    const { deadLetterTopic } = parseQueueSettings(given)
    const known = this.#context.topics.get(ref)?.config.queue?.deadLetterTopic
    if (deadLetterTopic !== undefined) this.#assertMaySendTo(ref, deadLetterTopic, known)
  }

  /** Whoever names where dead letters go has the broker write there: he must be allowed to do so himself. */
  #assertMaySendTo(source: TopicRef, deadLetterTopic: string, known: string | undefined): void {
    if (deadLetterTopic === '' || deadLetterTopic === known) return
    const target = deadLetterRefOf(source, deadLetterTopic)
    if (target !== undefined) this.permissions.topic('publish', topicResource(target))
  }

  /** The first steps of every operation on a topic. */
  #enter(operation: TopicOperation, text: string): NamedTopic {
    this.assertOpen()
    let named = this.#names.get(text)
    if (named === undefined) {
      const ref = parseTopicRef(text, this.#principal.namespace)
      named = { ref, resource: topicResource(ref), topic: undefined }
      if (this.#names.size >= namesMax) this.#names.clear()
      this.#names.set(text, named)
    }
    this.permissions.topic(operation, named.resource)
    return named
  }

  #enterChanging(operation: TopicOperation, text: string): NamedTopic {
    const named = this.#enter(operation, text)
    assertClientMayChange(named.ref)
    return named
  }

  #checkGroup(operation: GroupOperation, ref: TopicRef, group: string): void {
    assertLabel('group', group)
    this.permissions.group(operation, ref, group)
  }

  #live(named: NamedTopic): Topic | undefined {
    if (isHiddenTopic(named.ref)) return undefined
    if (named.topic === undefined || named.topic.deleted) named.topic = this.#context.topics.get(named.ref)
    return named.topic
  }

  #existing(named: NamedTopic): Topic {
    const live = this.#live(named)
    if (live === undefined) throw topicNotFound(named.ref)
    return live
  }

  /** The topic, created on the way when that is allowed. @throws RTK_TOPIC_NOT_FOUND */
  async #ensured(named: NamedTopic): Promise<Topic> {
    const live = this.#live(named)
    if (live !== undefined) return live
    if (!this.#context.autoCreateTopics || !this.permissions.mayCreate(named.resource)) {
      throw topicNotFound(named.ref)
    }
    named.topic = await this.#context.topics.ensure(named.ref, this.#principal)
    return named.topic
  }

  /** What throws when the lease is not held: asked in the same turn in which the publish gets its place. */
  #whileHeld(given: LeaseProof): () => void {
    const proof = jsonLease(given, 'lease')
    return () => {
      const source = this.#context.topics.get(parseTopicRef(proof.topic, this.#principal.namespace))
      if (source === undefined || !this.#context.delivery.queues.holdsLease(source, proof))
        throw leaseLost(proof)
    }
  }
}

const leaseLost = ({ topic, group, partition, offset, lease }: LeaseProof): RatatoskrError =>
  new RatatoskrError(
    'RTK_LEASE_LOST',
    `lease ${lease} of group ${quoteForMessage(group)} does not hold message ${partition}:${offset} of ${quoteForMessage(topic)} any more; nothing was published`,
  )

function assertClientMayName(ref: TopicRef): void {
  if (isReservedTopicName(ref.name)) {
    throw new RatatoskrError(
      'RTK_TOPIC_NAME_INVALID',
      `topic names that begin with _ are the broker's own; got ${formatTopicRef(ref)}`,
    )
  }
}

/** @throws RTK_PERMISSION_DENIED when the topic is the broker's own */
export function assertClientMayChange(ref: TopicRef): void {
  if (isReservedTopicName(ref.name)) {
    throw new RatatoskrError(
      'RTK_PERMISSION_DENIED',
      `topic ${formatTopicRef(ref)} is the broker's own; clients may only read it`,
    )
  }
}

const isBehindFirst = (from: StartPosition | undefined): boolean =>
  typeof from === 'object' && from !== null && 'offset' in from && from.offset !== 0
