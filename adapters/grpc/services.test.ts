/** The unary methods of ratatoskr.v1 by bare gRPC calls, as a client in another language makes them. */
import { type Client, type ServiceError, status } from '@grpc/grpc-js'
import { utf8 } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failureOf, format, message, noConfig } from './testing/bare-calls.ts'
import { batchOf, call, Harness, platform } from './testing/harness.ts'

const topics = proto.TopicServiceService
const messages = proto.MessageServiceService
const groups = proto.GroupServiceService
const brokers = proto.BrokerServiceService

let harness: Harness
let client: Client

beforeEach(async () => {
  harness = await Harness.start({ broker: { autoCreateTopics: false } })
  client = harness.client()
})

afterEach(() => harness.stop())

describe('TopicService', () => {
  it('creates a topic with a configuration, and again without harm', async () => {
    const config = {
      partitions: 3,
      retentionMs: -1,
      retentionBytes: -1,
      retentionMessages: 5_000,
      retention: proto.RetentionPolicy.RETENTION_POLICY_WORKQUEUE,
      segmentBytes: 1_000_000,
      messageBytesMax: 1_000,
      durability: proto.Durability.DURABILITY_MEMORY,
      compression: proto.Compression.COMPRESSION_ZSTD,
    }
    const created = await call(client, topics.createTopic, { topic: 'orders', config })
    expect(created).toMatchObject({ created: true, topic: { namespace: 'default', name: 'orders', config } })
    expect(created.topic?.partitions).toEqual(
      [0, 1, 2].map((partition) => ({
        partition,
        startOffset: 0,
        stableOffset: 0,
        endOffset: 0,
        sizeBytes: 0,
        state: proto.PartitionState.PARTITION_STATE_ONLINE,
        damaged: [],
      })),
    )
    expect(await call(client, topics.createTopic, { topic: 'orders', config })).toMatchObject({
      created: false,
    })
  })

  it('refuses a retention policy that is none', async () => {
    const config = { ...noConfig, retention: 3 as proto.RetentionPolicy }
    const failure = await failureOf(call(client, topics.createTopic, { topic: 'orders', config }))
    expect(failure).toMatchObject({ status: status.INVALID_ARGUMENT, code: 'RTK_INVALID_ARGUMENT' })
    expect(await call(client, topics.topicExists, { topic: 'orders' })).toEqual({ exists: false })
  })

  it('lists, describes, alters, resolves and deletes', async () => {
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    expect((await call(client, topics.listTopics, {})).topics.map(({ name }) => name)).toEqual(['orders'])
    expect(await call(client, topics.topicExists, { topic: 'orders' })).toEqual({ exists: true })
    const changes = { ...noConfig, partitions: 2, retentionMs: 5_000 }
    const altered = await call(client, topics.alterTopic, { topic: 'orders', changes })
    expect(altered.topic?.config).toMatchObject({ partitions: 2, retentionMs: 5_000 })
    expect(await call(client, topics.getTopic, { topic: 'orders' })).toEqual(altered)
    expect(await call(client, topics.resolveTopic, { topic: 'orders' })).toEqual(altered)
    await call(client, topics.deleteTopic, { topic: 'orders' })
    expect(await call(client, topics.topicExists, { topic: 'orders' })).toEqual({ exists: false })
  })

  it('answers offsets of each kind of position', async () => {
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    await call(client, messages.publishBatch, {
      topic: 'orders',
      messages: [message('a', { timestampMs: 1_000 }), message('b', { timestampMs: 2_000 })],
      durability: 0,
    })
    const at = async (position: proto.StartPosition): Promise<number[]> =>
      (await call(client, topics.listOffsets, { topic: 'orders', position })).offsets.map(
        ({ offset }) => offset,
      )
    expect(await at({ edge: proto.Edge.EDGE_EARLIEST })).toEqual([0])
    expect(await at({ edge: proto.Edge.EDGE_LATEST })).toEqual([2])
    expect(await at({ offset: 1 })).toEqual([1])
    expect(await at({ timestampMs: 1_500 })).toEqual([1])
    const offsets = [{ partition: 0, offset: 2 }]
    expect(await at({ offsets: { offsets, otherwise: 0 } })).toEqual([2])
    const otherwise = proto.Edge.EDGE_LATEST
    expect(await at({ offsets: { offsets: [], otherwise } })).toEqual([2])
  })

  it('counts', async () => {
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    await call(client, messages.publish, { topic: 'orders', message: message('a'), durability: 0 })
    expect(await call(client, topics.getTopicStats, { topic: 'orders' })).toMatchObject({
      topic: 'orders',
      messageCount: 1,
      subscriberCount: 0,
      partitions: [{ partition: 0, endOffset: 1 }],
    })
  })
})

describe('MessageService', () => {
  beforeEach(() =>
    call(client, topics.createTopic, { topic: 'orders', config: { ...noConfig, partitions: 2 } }),
  )

  it('publishes a message with everything it may have, and fetches it', async () => {
    const id = '3f0c1b2a-1111-4222-8333-444455556666'
    const sent = message('hello', {
      key: utf8('k'),
      headers: [
        { name: 'a', value: utf8('1') },
        { name: 'a', value: new Uint8Array([0, 255]) },
      ],
      id,
      timestampMs: 1_234,
      partition: 1,
    })
    const { receipt } = await call(client, messages.publish, {
      topic: 'orders',
      message: sent,
      durability: proto.Durability.DURABILITY_MEMORY,
    })
    expect(receipt).toEqual({
      id,
      partition: 1,
      offset: 0,
      durability: proto.Durability.DURABILITY_MEMORY,
      duplicate: false,
    })
    const { batches } = await call(client, messages.fetch, {
      format,
      topic: 'orders',
      partition: 1,
      edge: proto.Edge.EDGE_EARLIEST,
    })
    expect(batches).toMatchObject({
      partition: 1,
      fromOffset: 0,
      nextOffset: 1,
      startOffset: 0,
      stableOffset: 1,
    })
    expect(Buffer.from(batches?.batches ?? []).includes('hello')).toBe(true)
  })

  it('publishes many, each on its own', async () => {
    const { results } = await call(client, messages.publishBatch, {
      topic: 'orders',
      messages: [message('a'), message('b', { partition: 7 }), message('c', { partition: 0 })],
      durability: 0,
    })
    expect(results.map(({ error }) => error?.code)).toEqual([undefined, 'RTK_PARTITION_NOT_FOUND', undefined])
    expect(results[2].receipt?.partition).toBe(0)
  })

  it('publishes record batches, and fetches from an offset within', async () => {
    const response = await call(client, messages.publishRecordBatch, {
      topic: 'orders',
      partition: 0,
      durability: 0,
      batches: batchOf('a', 'b', 'c'),
    })
    expect(response).toEqual({
      partition: 0,
      baseOffset: 0,
      recordCount: 3,
      durability: 1,
      duplicate: false,
      duplicates: [],
    })
    const fetched = await call(client, messages.fetch, {
      format,
      topic: 'orders',
      partition: 0,
      offset: 2,
      bytesMax: 10,
    })
    expect(fetched.batches).toMatchObject({ fromOffset: 2, nextOffset: 3 })
  })

  it('waits for the first message, and no longer than told', async () => {
    const waiting = call(client, messages.fetch, {
      format,
      topic: 'orders',
      partition: 0,
      offset: 0,
      waitMs: 10_000,
    })
    await call(client, topics.getTopic, { topic: 'orders' })
    await call(client, messages.publish, {
      topic: 'orders',
      message: message('a', { partition: 0 }),
      durability: 0,
    })
    expect((await waiting).batches?.nextOffset).toBe(1)
    const empty = await call(client, messages.fetch, {
      format,
      topic: 'orders',
      partition: 0,
      offset: 1,
      waitMs: 1,
    })
    expect(empty.batches).toMatchObject({ fromOffset: 1, nextOffset: 1 })
    expect(empty.batches?.batches).toHaveLength(0)
  })

  it('cancels what a caller no longer waits for', async () => {
    const request = { format, topic: 'orders', partition: 0, offset: 0, waitMs: 60_000 }
    const { path, requestSerialize, responseDeserialize } = messages.fetch
    const failed = await new Promise<ServiceError | null>((resolve) => {
      const pending = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, resolve)
      void call(client, topics.getTopic, { topic: 'orders' }).then(() => pending.cancel())
    })
    expect(failed?.code).toBe(status.CANCELLED)
    const late = await new Promise<ServiceError | null>((resolve) => {
      const deadline = { deadline: Date.now() + 30 }
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, deadline, resolve)
    })
    expect(late?.code).toBe(status.DEADLINE_EXCEEDED)
  })

  it('carries 1 MiB', async () => {
    const payload = platform.random.fill(new Uint8Array(1024 * 1024))
    const outgoing = { payload, headers: [], partition: 0 }
    await call(client, messages.publish, { topic: 'orders', message: outgoing, durability: 0 })
    const { batches } = await call(client, messages.fetch, {
      format,
      topic: 'orders',
      partition: 0,
      offset: 0,
    })
    expect(Buffer.from(batches?.batches ?? []).includes(payload)).toBe(true)
  })
})

describe('GroupService', () => {
  beforeEach(async () => {
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    const list = ['a', 'b', 'c'].map((text) => message(text))
    await call(client, messages.publishBatch, { topic: 'orders', messages: list, durability: 0 })
  })

  it('fetches as a member, commits, describes, seeks and deletes', async () => {
    const fetched = await call(client, groups.fetchGroup, {
      format,
      topic: 'orders',
      group: 'billing',
      member: 'one',
      positions: [],
      from: { edge: proto.Edge.EDGE_EARLIEST },
      waitMs: 1_000,
    })
    expect(fetched.batches).toMatchObject([{ partition: 0, fromOffset: 0, nextOffset: 3 }])
    const offsets = [{ partition: 0, offset: 2, metadata: 'here' }]
    await call(client, groups.commitOffsets, { topic: 'orders', group: 'billing', member: 'one', offsets })
    expect(await call(client, groups.listGroups, { topic: 'orders' })).toEqual({ groups: ['billing'] })
    expect(await call(client, groups.getGroup, { topic: 'orders', group: 'billing' })).toMatchObject({
      topic: 'orders',
      group: 'billing',
      state: proto.GroupState.GROUP_STATE_STABLE,
      members: [{ member: 'one', partitions: [0] }],
      partitions: [{ partition: 0, committedOffset: 2, metadata: 'here', lag: 1, member: 'one' }],
      lag: 1,
    })
    const sought = await call(client, groups.seekGroup, {
      topic: 'orders',
      group: 'billing',
      position: { offset: 1 },
      partitions: [],
    })
    expect(sought.offsets).toEqual([{ partition: 0, offset: 1 }])
    const refused = call(client, groups.deleteGroup, { topic: 'orders', group: 'billing' })
    expect(await failureOf(refused)).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  })

  it('commits and deletes a group without members', async () => {
    const offsets = [{ partition: 0, offset: 1, metadata: '' }]
    await call(client, groups.commitOffsets, { topic: 'orders', group: 'idle', member: '', offsets })
    const group = await call(client, groups.getGroup, { topic: 'orders', group: 'idle' })
    expect(group).toMatchObject({ state: proto.GroupState.GROUP_STATE_EMPTY, members: [] })
    expect(group.partitions[0].member).toBeUndefined()
    await call(client, groups.deleteGroup, { topic: 'orders', group: 'idle' })
    expect(await call(client, groups.listGroups, { topic: 'orders' })).toEqual({ groups: [] })
  })
})

describe('BrokerService', () => {
  it('tells the session, the counts and the health', async () => {
    const session = await call(client, brokers.getSession, {})
    expect(session).toMatchObject({ namespace: 'default', batchBytesMax: 16 * 1024 * 1024 })
    expect(Math.abs(session.timeMs - Date.now())).toBeLessThan(60_000)
    const again = await call(client, brokers.getSession, {})
    expect({ ...again, timeMs: session.timeMs }).toEqual(session)
    expect(await call(client, brokers.getBrokerStats, {})).toMatchObject({
      topics: 0,
      messagesPublished: 0,
      uptimeMs: expect.any(Number),
    })
    const health = await call(client, brokers.getHealth, {})
    expect(health).toMatchObject({ status: proto.HealthStatus.HEALTH_STATUS_OK, ready: true })
    expect(health.components).toContainEqual(
      expect.objectContaining({ status: proto.ComponentStatus.COMPONENT_STATUS_OK, restarts: 0 }),
    )
  })
})
