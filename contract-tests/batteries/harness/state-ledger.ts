/**
 * A ledger of changes of the broker's state: which topics there are, how they are set, and where groups stand. Changes are
 * made one after the other, so that after a crash the state must be what the acknowledged ones lead to, or that with the
 * first few of the others done as well, in their order.
 */
import type { Client } from 'ratatoskr/client'
import { isRatatoskrError } from 'ratatoskr/client'

type StateClient = Pick<
  Client,
  | 'createTopic'
  | 'alterTopic'
  | 'deleteTopic'
  | 'listTopics'
  | 'commit'
  | 'seek'
  | 'describeGroup'
  | 'publishMany'
  | 'topicExists'
>

export type StateOperation =
  | { readonly kind: 'create'; readonly topic: string; readonly retentionBytes: number }
  | { readonly kind: 'alter'; readonly topic: string; readonly retentionBytes: number }
  | { readonly kind: 'grow'; readonly topic: string; readonly partitions: number }
  | { readonly kind: 'delete'; readonly topic: string }
  | { readonly kind: 'commit' | 'seek'; readonly group: string; readonly offset: number }

interface TopicState {
  readonly retentionBytes: number
  readonly partitions: number
}

/** What can be seen of the state: topics by name, committed offsets by group. */
export interface StateView {
  readonly topics: Map<string, TopicState>
  readonly offsets: Map<string, number>
}

const prefix = 'state.'
const groups = ['first', 'second']
const topicsMax = 6
/** The topic whose groups commit, and how many messages it has. */
const groupTopic = 'groups'
const groupMessages = 100

export const emptyState = (): StateView => ({ topics: new Map(), offsets: new Map() })

/** Makes the topic whose groups commit, when it is not there. */
export async function prepareState(client: StateClient): Promise<void> {
  if (await client.topicExists(groupTopic)) return
  await client.createTopic(groupTopic, { partitions: 1, durability: 'fsync' })
  const results = await client.publishMany(
    groupTopic,
    Array.from({ length: groupMessages }, (_, i) => ({ payload: `${i}` })),
  )
  for (const result of results) if ('error' in result) throw result.error
}

/** The next change to make, any that is possible now. `count` numbers the changes, so that no two are the same. */
export function nextOperation(state: StateView, random: () => number, count: number): StateOperation {
  const names = [...state.topics.keys()]
  const topic = names[Math.floor(random() * names.length)]
  const dice = random()
  if (dice < 0.4) {
    const group = groups[Math.floor(random() * groups.length)]
    const offset = count % (groupMessages + 1)
    // A commit never goes back: only a seek does.
    return { kind: offset < (state.offsets.get(group) ?? 0) ? 'seek' : 'commit', group, offset }
  }
  if (topic === undefined || (dice < 0.6 && names.length < topicsMax)) {
    return { kind: 'create', topic: `${prefix}${count}`, retentionBytes: 1_000_000 + count }
  }
  if (dice < 0.75) return { kind: 'alter', topic, retentionBytes: 1_000_000 + count }
  const { partitions } = state.topics.get(topic) as TopicState
  if (dice < 0.85 && partitions < 4) return { kind: 'grow', topic, partitions: partitions + 1 }
  return { kind: 'delete', topic }
}

/** Asks the broker for a change. */
export async function perform(client: StateClient, operation: StateOperation): Promise<void> {
  switch (operation.kind) {
    case 'create': {
      const { topic, retentionBytes } = operation
      await client.createTopic(topic, { partitions: 1, retentionBytes })
      return
    }
    case 'alter':
      await client.alterTopic(operation.topic, { retentionBytes: operation.retentionBytes })
      return
    case 'grow':
      await client.alterTopic(operation.topic, { partitions: operation.partitions })
      return
    case 'delete':
      return client.deleteTopic(operation.topic)
    case 'commit':
      return client.commit(groupTopic, operation.group, [{ partition: 0, offset: operation.offset }])
    case 'seek': {
      const offsets = [{ partition: 0, offset: operation.offset }]
      await client.seek(groupTopic, operation.group, { offsets })
      return
    }
  }
}

/** What a change makes of the state; the state given stays as it is. */
export function applied(state: StateView, operation: StateOperation): StateView {
  const topics = new Map(state.topics)
  const offsets = new Map(state.offsets)
  switch (operation.kind) {
    case 'create':
      topics.set(operation.topic, { retentionBytes: operation.retentionBytes, partitions: 1 })
      break
    case 'alter':
    case 'grow': {
      const { kind, topic, ...change } = operation
      topics.set(topic, { ...(topics.get(topic) as TopicState), ...change })
      break
    }
    case 'delete':
      topics.delete(operation.topic)
      break
    case 'commit':
    case 'seek':
      offsets.set(operation.group, operation.offset)
      break
  }
  return { topics, offsets }
}

/** What the broker says the state is. */
export async function observe(client: StateClient): Promise<StateView> {
  const state = emptyState()
  for (const { name, config } of await client.listTopics()) {
    if (!name.startsWith(prefix)) continue
    const { retentionBytes, partitions } = config
    state.topics.set(name, { retentionBytes, partitions })
  }
  for (const group of groups) {
    const offset = await client.describeGroup(groupTopic, group).then(
      ({ partitions }) => partitions[0]?.committedOffset,
      (error: unknown) => {
        if (isRatatoskrError(error, 'RTK_GROUP_NOT_FOUND')) return undefined
        throw error
      },
    )
    if (offset !== undefined) state.offsets.set(group, offset)
  }
  return state
}

/** @throws Error when the state is none that the changes can have led to */
export function assertState(
  before: StateView,
  acked: readonly StateOperation[],
  uncertain: readonly StateOperation[],
  actual: StateView,
): void {
  let state = acked.reduce(applied, before)
  const possible = [textOf(state)]
  for (const operation of uncertain) {
    state = applied(state, operation)
    possible.push(textOf(state))
  }
  const text = textOf(actual)
  if (possible.includes(text)) return
  const last = acked.at(-1)
  throw new Error(
    `the state is ${text}, and should be ${possible.join(' or ')}; acknowledged last: ${JSON.stringify(last)}`,
  )
}

function textOf({ topics, offsets }: StateView): string {
  const sorted = <T>(map: Map<string, T>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([
    sorted(topics).map(([name, topic]) => [name, topic.retentionBytes, topic.partitions]),
    sorted(offsets),
  ])
}

/** Changes state without pause until it is ended or fails, and remembers what was acknowledged. */
export class StateChanger {
  readonly acked: StateOperation[] = []
  /** What was asked last and not acknowledged. */
  uncertain: StateOperation[] = []
  #state: StateView
  #count: number
  #over = false
  readonly #changed = Promise.withResolvers<void>()
  /** Resolves when the first change was acknowledged. */
  readonly changed: Promise<void> = this.#changed.promise

  constructor(state: StateView, count: number) {
    this.#state = state
    this.#count = count
  }

  end(): void {
    this.#over = true
  }

  async run(client: StateClient, random: () => number): Promise<void> {
    while (!this.#over) {
      const operation = nextOperation(this.#state, random, this.#count++)
      this.uncertain = [operation]
      await perform(client, operation)
      this.uncertain = []
      this.acked.push(operation)
      this.#changed.resolve()
      this.#state = applied(this.#state, operation)
    }
  }
}
