/** The unary methods of `ratatoskr.v1`: each translates, calls the session once, and translates back. */
import type { BrokerFacade, ComponentHealth, Health, TopicDescription } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import type { CallHost } from './calls.ts'
import {
  configFromProto,
  duplicatesToProto,
  durabilityFromProto,
  durabilityToProto,
  edgeFromProto,
  groupToProto,
  listOf,
  offsetsToProto,
  outgoingFromProto,
  partitionToProto,
  positionFromProto,
  receiptToProto,
  requiredPosition,
  textOf,
  topicToProto,
} from './convert.ts'
import { fetchedWriter } from './messages.ts'
import type { Handlers } from './routes.ts'
import { errorToProto } from './status.ts'
import { unary } from './unary-call.ts'

const inTopic = (topic: TopicDescription): { topic: proto.Topic } => ({ topic: topicToProto(topic) })

export const topicService = (host: CallHost): Handlers<proto.TopicServiceService> => ({
  createTopic: unary(host, async (session, { topic, config }) => {
    const result = await session.createTopic(topic, configFromProto(config))
    return { created: result.created, topic: topicToProto(result.topic) }
  }),
  deleteTopic: unary(host, async (session, { topic }) => {
    await session.deleteTopic(topic)
    return {}
  }),
  listTopics: unary(host, async (session) => ({ topics: (await session.listTopics()).map(topicToProto) })),
  topicExists: unary(host, async (session, { topic }) => ({ exists: await session.topicExists(topic) })),
  getTopic: unary(host, async (session, { topic }) => inTopic(await session.describeTopic(topic))),
  alterTopic: unary(host, async (session, { topic, changes }) =>
    inTopic(await session.alterTopic(topic, configFromProto(changes))),
  ),
  resolveTopic: unary(host, async (session, { topic }) => inTopic(await session.resolveTopic(topic))),
  getTopicStats: unary(host, async (session, { topic }) => {
    const stats = await session.topicStats(topic)
    return { ...stats, partitions: stats.partitions.map(partitionToProto) }
  }),
  listOffsets: unary(host, async (session, { topic, position }) => ({
    offsets: offsetsToProto(await session.offsets(topic, requiredPosition(position))),
  })),
})

export const messageService = (
  host: CallHost,
  broker: BrokerFacade,
): Handlers<proto.MessageServiceService, 'produce' | 'consume'> => ({
  publish: unary(host, async (session, request) => {
    const { topic, lease } = request
    const durability = durabilityFromProto(request.durability)
    const message = outgoingFromProto(request.message)
    const receipt = await session.publish(topic, message, { durability, lease })
    return { receipt: receiptToProto(receipt) }
  }),
  publishBatch: unary(host, async (session, request) => {
    const { topic, lease } = request
    const durability = durabilityFromProto(request.durability)
    const messages = request.messages.map(outgoingFromProto)
    const results = await session.publishMany(topic, messages, { durability, lease })
    return {
      results: results.map((result) =>
        'error' in result ? { error: errorToProto(result.error) } : { receipt: receiptToProto(result) },
      ),
    }
  }),
  initProducer: unary(host, (session) => session.initProducer()),
  publishRecordBatch: unary(host, async (session, { topic, partition, batches, ...request }) => {
    const { lease } = request
    const options = { durability: durabilityFromProto(request.durability), lease }
    const receipt = await session.publishBatch(topic, partition, batches, options)
    const { baseOffset, recordCount } = receipt
    const reached = durabilityToProto(receipt.durability)
    return { partition, baseOffset, recordCount, durability: reached, ...duplicatesToProto(receipt) }
  }),
  cancelScheduled: unary(host, async (session, { topic, id }) => ({
    cancelled: await session.cancelScheduled(topic, id),
  })),
  listScheduled: unary(host, async (session, { topic, ...request }) => {
    const { messages, next } = await session.listScheduled(topic, request)
    return { messages: [...messages], next }
  }),
  fetch: unary(host, async (session, { topic, partition, bytesMax, waitMs, ...request }, call) => {
    const offset = request.offset ?? edgeFromProto(request.edge ?? proto.Edge.EDGE_UNSPECIFIED)
    const write = fetchedWriter(broker, session, topic, request.format)
    const fetch = { partition, offset, bytesMax, waitMs }
    return { batches: write(await session.fetch(topic, fetch, { signal: call.signal })) }
  }),
})

export const groupService = (host: CallHost, broker: BrokerFacade): Handlers<proto.GroupServiceService> => ({
  fetchGroup: unary(host, async (session, request, call) => {
    const { topic, group, bytesMax, messagesMax, waitMs } = request
    const fetch = {
      group,
      member: textOf(request.member),
      positions: listOf(request.positions),
      from: positionFromProto(request.from),
      bytesMax,
      messagesMax,
      waitMs,
    }
    const write = fetchedWriter(broker, session, topic, request.format)
    const fetched = await session.fetchGroup(topic, fetch, { signal: call.signal })
    return { batches: fetched.map(write) }
  }),
  commitOffsets: unary(host, async (session, { topic, group, member, offsets }) => {
    await session.commit(topic, { group, member: textOf(member), offsets })
    return {}
  }),
  seekGroup: unary(host, async (session, { topic, group, position, partitions }) => {
    const request = { position: requiredPosition(position), partitions: listOf(partitions) }
    return { offsets: offsetsToProto(await session.seekGroup(topic, group, request)) }
  }),
  listGroups: unary(host, async (session, { topic }) => ({ groups: [...(await session.listGroups(topic))] })),
  getGroup: unary(host, async (session, { topic, group }) =>
    groupToProto(await session.describeGroup(topic, group)),
  ),
  deleteGroup: unary(host, async (session, { topic, group }) => {
    await session.deleteGroup(topic, group)
    return {}
  }),
})

export const brokerService = (
  host: CallHost,
  broker: BrokerFacade,
): Handlers<proto.BrokerServiceService> => ({
  getSession: unary(host, (session) => ({
    sessionId: session.id,
    principal: session.principal.name,
    namespace: session.principal.namespace,
    batchBytesMax: broker.limits.batchBytesMax,
    timeMs: Math.floor(broker.platform.clock.now()),
  })),
  getBrokerStats: unary(host, async (session) => {
    const stats = await session.brokerStats()
    return {
      ...stats,
      uptimeMs: Math.floor(stats.uptimeMs),
      storage: { ...stats.storage },
      process: stats.process,
    }
  }),
  getHealth: (call) => call.succeed(healthToProto(broker.health())),
})

const healthStatuses = {
  starting: proto.HealthStatus.HEALTH_STATUS_STARTING,
  ok: proto.HealthStatus.HEALTH_STATUS_OK,
  degraded: proto.HealthStatus.HEALTH_STATUS_DEGRADED,
  stopping: proto.HealthStatus.HEALTH_STATUS_STOPPING,
  stopped: proto.HealthStatus.HEALTH_STATUS_STOPPED,
} as const

const componentStatuses = {
  ok: proto.ComponentStatus.COMPONENT_STATUS_OK,
  restarting: proto.ComponentStatus.COMPONENT_STATUS_RESTARTING,
  failed: proto.ComponentStatus.COMPONENT_STATUS_FAILED,
  degraded: proto.ComponentStatus.COMPONENT_STATUS_DEGRADED,
} as const

const healthToProto = (health: Health): proto.GetHealthResponse => ({
  status: healthStatuses[health.status],
  ready: health.ready,
  uptimeMs: Math.floor(health.uptimeMs),
  components: health.components.map((component: ComponentHealth) => ({
    name: component.name,
    status: componentStatuses[component.status],
    restarts: component.restarts,
    lastError: component.lastError ?? '',
  })),
})
