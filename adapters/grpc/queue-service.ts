/** The unary methods of `QueueService`. */
import {
  type BrokerFacade,
  formatTopicRef,
  parseTopicRef,
  type Session,
  type Taken,
  takeOrRelease,
} from 'ratatoskr/ports'
import type * as proto from 'ratatoskr/proto'
import type { CallHost } from './calls.ts'
import { listOf, positionFromProto, textOf } from './convert.ts'
import { leasedMessages } from './leased-messages.ts'
import { wantsMessages } from './messages.ts'
import { queueConfigFromProto } from './queue-config-convert.ts'
import { leasedToProto, queueToProto, settlementsFromProto, settleResultsToProto } from './queue-convert.ts'
import type { Handlers } from './routes.ts'
import { unary } from './unary-call.ts'

export const queueService = (
  host: CallHost,
  broker: BrokerFacade,
): Handlers<proto.QueueServiceService, 'consume'> => ({
  take: unary(host, async (session, request, call) => {
    const { topic, group, autoAck, messagesMax, bytesMax, waitMs } = request
    const asMessages = wantsMessages(request.format)
    const asked = {
      group,
      member: textOf(request.member),
      from: positionFromProto(request.from),
      config: queueConfigFromProto(request.config),
      autoAck,
      messagesMax,
      bytesMax,
      waitMs,
    }
    const taken = await takeOrRelease(session, topic, asked, call.signal)
    const { topicId, member, memberTimeoutMs } = taken
    const batches = asMessages
      ? messagesTaken(broker, session, topic, taken)
      : taken.batches.map(leasedToProto)
    return { topicId, member, memberTimeoutMs, batches }
  }),
  settle: unary(host, async (session, { topic, group, member, settlements }) => {
    const request = { group, member: textOf(member), settlements: settlementsFromProto(settlements) }
    return { results: settleResultsToProto(await session.settle(topic, request)) }
  }),
  heartbeat: unary(host, async (session, { topic, group, member }) => {
    await session.heartbeat(topic, group, member)
    return {}
  }),
  leaveQueue: unary(host, async (session, { topic, group, member }) => {
    await session.leaveQueue(topic, group, member)
    return {}
  }),
  createQueue: unary(host, async (session, { topic, group, config, from }) => ({
    queue: queueToProto(
      await session.createQueue(topic, group, queueConfigFromProto(config), positionFromProto(from)),
    ),
  })),
  alterQueue: unary(host, async (session, { topic, group, changes, unset }) => {
    const taken = Object.fromEntries(unset.map((name) => [name, null]))
    const queue = await session.alterQueue(topic, group, { ...taken, ...queueConfigFromProto(changes) })
    return { queue: queueToProto(queue) }
  }),
  getQueue: unary(host, async (session, { topic, group }) => ({
    queue: queueToProto(await session.describeQueue(topic, group)),
  })),
  pauseQueue: unary(host, async (session, { topic, group, paused, partitions }) => {
    await session.pauseQueue(topic, group, paused, listOf(partitions))
    return {}
  }),
})

function messagesTaken(
  broker: BrokerFacade,
  session: Session,
  topicText: string,
  { topicId, batches }: Taken,
): proto.LeasedBatch[] {
  const topic = formatTopicRef(parseTopicRef(topicText, session.principal.namespace))
  return batches.flatMap((batch) => [...leasedMessages(broker, { topic, topicId }, batch)])
}
