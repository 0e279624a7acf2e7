/**
 * What each operation of a session needs. The table is complete by type: a method added to `Session` does not compile
 * until it names its permission here, and the session checks by the name of the operation and in no other way.
 */
import { RatatoskrError } from '../domain/errors.ts'
import { formatTopicRef, type TopicRef } from '../domain/names.ts'
import type { Action, Grants, Principal, Resource, Session } from '../ports/index.ts'
import type { Hooks } from './seams.ts'

type MethodNames<T> = {
  [Name in keyof T]-?: T[Name] extends (...args: never[]) => unknown ? Name : never
}[keyof T]

/**
 * Everything a session can be asked to do, but for ending itself, and for a producer id, which is of no use to whoever may
 * not publish.
 */
export type Operation = Exclude<MethodNames<Session>, 'close' | 'initProducer'>

/** Asked of the topic; and of the group too when the call names one, or of each group that would be listed. */
interface TopicPermission {
  readonly topic: Action
  readonly group?: Action
  readonly eachGroup?: Action
}

/** A list of what the caller may see: what is not allowed is left out. */
interface ListPermission {
  readonly eachTopic: Action
}

interface BrokerPermission {
  readonly broker: Action
}

type Permission = TopicPermission | ListPermission | BrokerPermission

export const operationPermissions = {
  createTopic: { topic: 'topic:create' },
  deleteTopic: { topic: 'topic:delete' },
  alterTopic: { topic: 'topic:alter' },
  listTopics: { eachTopic: 'topic:list' },
  topicExists: { topic: 'topic:describe' },
  describeTopic: { topic: 'topic:describe' },
  topicStats: { topic: 'topic:describe' },
  resolveTopic: { topic: 'topic:publish' },
  publish: { topic: 'topic:publish' },
  publishMany: { topic: 'topic:publish' },
  publishBatch: { topic: 'topic:publish' },
  cancelScheduled: { topic: 'topic:publish' },
  listScheduled: { topic: 'topic:describe' },
  subscribe: { topic: 'topic:consume', group: 'group:consume' },
  subscribeMessages: { topic: 'topic:consume', group: 'group:consume' },
  fetch: { topic: 'topic:consume' },
  fetchGroup: { topic: 'topic:consume', group: 'group:consume' },
  offsets: { topic: 'topic:consume' },
  commit: { topic: 'topic:consume', group: 'group:consume' },
  seekGroup: { topic: 'topic:consume', group: 'group:seek' },
  deleteGroup: { topic: 'topic:consume', group: 'group:seek' },
  describeGroup: { topic: 'topic:describe', group: 'group:describe' },
  listGroups: { topic: 'topic:describe', eachGroup: 'group:describe' },
  consume: { topic: 'topic:consume', group: 'group:consume' },
  take: { topic: 'topic:consume', group: 'group:consume' },
  settle: { topic: 'topic:consume', group: 'group:consume' },
  heartbeat: { topic: 'topic:consume', group: 'group:consume' },
  leaveQueue: { topic: 'topic:consume', group: 'group:consume' },
  createQueue: { topic: 'topic:consume', group: 'group:configure' },
  alterQueue: { topic: 'topic:consume', group: 'group:configure' },
  pauseQueue: { topic: 'topic:consume', group: 'group:configure' },
  describeQueue: { topic: 'topic:describe', group: 'group:describe' },
  deadLetters: { topic: 'topic:consume' },
  redriveDeadLetters: { topic: 'topic:publish' },
  purgeDeadLetters: { topic: 'topic:consume' },
  brokerStats: { broker: 'broker:describe' },
  profile: { broker: 'broker:profile' },
} as const satisfies Record<Operation, Permission>

/**
 * Rights that bring a lesser one along: whoever reads or writes a topic may know its partitions and its id, without which
 * no client can do either. As in Kafka's ACLs.
 */
export const impliedBy: Partial<Record<Action, readonly Action[]>> = {
  'topic:describe': ['topic:consume', 'topic:publish'],
}

type OperationsOn<Kind> = {
  [Name in Operation]: (typeof operationPermissions)[Name] extends Kind ? Name : never
}[Operation]

/** Operations on one topic. */
export type TopicOperation = OperationsOn<{ readonly topic: Action }>
/** Operations on one group of a topic. */
export type GroupOperation = OperationsOn<{ readonly group: Action }>

const brokerResource: Resource = Object.freeze({ kind: 'broker' })

/** The authorization resource of a topic. */
export const topicResource = (ref: TopicRef): Resource => ({
  kind: 'topic',
  namespace: ref.namespace,
  name: ref.name,
})

/** Stands before every operation of one session. */
export class PermissionCheck {
  readonly #principal: Principal
  readonly #grants: Grants
  readonly #hooks: Hooks

  constructor(principal: Principal, grants: Grants, hooks: Hooks) {
    this.#principal = principal
    this.#grants = grants
    this.#hooks = hooks
  }

  /** @throws RTK_PERMISSION_DENIED */
  topic(operation: TopicOperation, resource: Resource): void {
    const { topic } = operationPermissions[operation]
    if (!this.#allows(topic, resource)) throw this.#denied(topic, resource)
  }

  /** @throws RTK_PERMISSION_DENIED */
  group(operation: GroupOperation, ref: TopicRef, group: string): void {
    const action = operationPermissions[operation].group
    const resource = groupResource(ref, group)
    if (!this.#grants.allows(action, resource)) throw this.#denied(action, resource)
  }

  /** @throws RTK_PERMISSION_DENIED */
  broker(operation: OperationsOn<BrokerPermission>): void {
    const { broker } = operationPermissions[operation]
    if (!this.#grants.allows(broker, brokerResource)) throw this.#denied(broker, brokerResource)
  }

  /** True when a list may name this topic. */
  lists(ref: TopicRef): boolean {
    return this.#grants.allows(operationPermissions.listTopics.eachTopic, topicResource(ref))
  }

  /** True when a list may name this group. */
  listsGroup(ref: TopicRef, group: string): boolean {
    return this.#grants.allows(operationPermissions.listGroups.eachGroup, groupResource(ref, group))
  }

  /** True when a topic that is missing may be created on the way: never more than `createTopic` itself may do. */
  mayCreate(resource: Resource): boolean {
    return this.#grants.allows(operationPermissions.createTopic.topic, resource)
  }

  #allows(action: Action, resource: Resource): boolean {
    if (this.#grants.allows(action, resource)) return true
    return impliedBy[action]?.some((stronger) => this.#grants.allows(stronger, resource)) ?? false
  }

  #denied(action: Action, resource: Resource): RatatoskrError {
    const text = resourceText(resource)
    if (this.#hooks.observes('denied')) {
      this.#hooks.emit('denied', { principal: this.#principal, action, resource: text })
    }
    return new RatatoskrError(
      'RTK_PERMISSION_DENIED',
      `${this.#principal.name} needs the permission ${action} on ${text}`,
      { details: { action, resource: text } },
    )
  }
}

const groupResource = (ref: TopicRef, group: string): Resource => ({
  kind: 'group',
  namespace: ref.namespace,
  topic: ref.name,
  name: group,
})

function resourceText(resource: Resource): string {
  switch (resource.kind) {
    case 'broker':
      return 'the broker'
    case 'topic':
      return `topic ${formatTopicRef(resource)}`
    case 'group':
      return `group ${resource.name} of topic ${formatTopicRef({ namespace: resource.namespace, name: resource.topic })}`
  }
}
