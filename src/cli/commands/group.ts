/** `ratatoskr group …`: groups of both kinds, those that commit offsets (streams) and those that lease messages (queues). */
import type { Client } from '../../client/client.ts'
import { parseQueueChanges, parseQueueSettings } from '../../domain/queue/queue-config-rules.ts'
import { isRatatoskrError, type QueueChanges, type QueueConfig } from '../../ports/index.ts'
import { valueOfText } from '../config/settings.ts'
import { type ConnectionOptions, pair, wholeNumber, withClient } from '../connection.ts'
import { durationMs } from '../duration.ts'
import { printRecord, printRows } from '../output.ts'
import { positionOf } from '../position.ts'

/** Settings of a queue group as they are given on a command line. */
export interface GroupSettings extends ConnectionOptions {
  readonly sharing?: string
  readonly ackTimeout?: string
  readonly retries?: string
  readonly retry?: string
  readonly deadLetterTopic?: string
  readonly set?: readonly string[]
}

interface PartitionOption extends ConnectionOptions {
  readonly partition?: string
}

export const listGroups = (topic: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) => {
    const groups = await client.listGroups(topic)
    const rows = await Promise.all(
      groups.map(async (group) => ({
        group,
        kind: (await queueOf(client, topic, group)) === undefined ? 'stream' : 'queue',
      })),
    )
    await printRows(rows, ['group', 'kind'], options.output)
  })

export const createGroup = (
  topic: string,
  group: string,
  options: GroupSettings & { from?: string },
): Promise<void> =>
  withClient(options, async (client) => {
    const from = options.from === undefined ? undefined : positionOf('--from', options.from)
    await printQueue(await client.createQueue(topic, group, configOf(options), { from }), options)
  })

export const alterGroup = (topic: string, group: string, options: GroupSettings): Promise<void> =>
  withClient(options, async (client) =>
    printQueue(await client.alterQueue(topic, group, changesOf(options)), options),
  )

export const describeGroup = (topic: string, group: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) => {
    const queue = await queueOf(client, topic, group)
    if (queue !== undefined) return printQueue(queue, options)
    const description = await client.describeGroup(topic, group)
    if (options.output !== 'table') return printRecord({ kind: 'stream', ...description }, options.output)
    const { state, lag } = description
    await printRecord(
      { topic: description.topic, group: description.group, kind: 'stream', state, lag },
      'table',
    )
    process.stdout.write('\n')
    await printRows(
      description.partitions,
      ['partition', 'committedOffset', 'stableOffset', 'lag', 'member'],
      'table',
    )
  })

export const pauseGroup = (topic: string, group: string, options: PartitionOption): Promise<void> =>
  withClient(options, (client) => client.pauseQueue(topic, group, { partitions: partitionsOf(options) }))

export const resumeGroup = (topic: string, group: string, options: PartitionOption): Promise<void> =>
  withClient(options, (client) => client.resumeQueue(topic, group, { partitions: partitionsOf(options) }))

export const deleteGroup = (topic: string, group: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, (client) => client.deleteGroup(topic, group))

export const seekGroup = (
  topic: string,
  group: string,
  options: PartitionOption & { to: string },
): Promise<void> =>
  withClient(options, async (client) => {
    const offsets = await client.seek(topic, group, positionOf('--to', options.to), {
      partitions: partitionsOf(options),
    })
    await printRows(offsets, ['partition', 'offset'], options.output)
  })

const partitionsOf = ({ partition }: PartitionOption): readonly number[] | undefined =>
  partition === undefined ? undefined : [wholeNumber('--partition', partition, 0)]

type Queue = Awaited<ReturnType<Client['describeQueue']>>

/** The group when it is a queue group. */
async function queueOf(client: Client, topic: string, group: string): Promise<Queue | undefined> {
  try {
    return await client.describeQueue(topic, group)
  } catch (error) {
    if (isRatatoskrError(error, 'RTK_GROUP_MISMATCH')) return undefined
    throw error
  }
}

async function printQueue(queue: Queue, { output }: ConnectionOptions): Promise<void> {
  if (output !== 'table') return printRecord({ kind: 'queue', ...queue }, output)
  const { topic, group, state, paused, lag, config, members, partitions } = queue
  const sum = (of: 'inFlight' | 'delayed'): number => partitions.reduce((total, one) => total + one[of], 0)
  await printRecord(
    {
      topic,
      group,
      kind: `queue, ${config.sharing}`,
      state: paused ? 'paused' : state,
      lag,
      inFlight: sum('inFlight'),
      delayed: sum('delayed'),
      members: members.map(({ member }) => member).join(' ') || undefined,
    },
    'table',
  )
  process.stdout.write('\n')
  const columns = ['partition', 'ackedOffset', 'stableOffset', 'lag', 'inFlight', 'delayed', 'member']
  if (partitions.some((one) => one.paused)) columns.push('state')
  const rows = partitions.map((one) => ({ ...one, state: one.paused ? 'paused' : undefined }))
  await printRows(rows, columns, 'table')
}

/** What is given of a queue group's settings. */
export const configOf = (options: GroupSettings): Partial<QueueConfig> =>
  // Checked here already: a retry policy has a text form that no protocol carries.
  parseQueueSettings(settingsOf(options))

/** The same, with null for those that are to be the topic's again. */
function changesOf(options: GroupSettings): QueueChanges {
  const { set, unset } = parseQueueChanges(settingsOf(options))
  return { ...Object.fromEntries(unset.map((name) => [name, null])), ...set }
}

function settingsOf(options: GroupSettings): Record<string, unknown> {
  const config: Record<string, unknown> = {}
  const { sharing, ackTimeout, retries, retry, deadLetterTopic, set = [] } = options
  if (sharing !== undefined) config.sharing = sharing
  if (ackTimeout !== undefined) config.ackTimeoutMs = durationMs('--ack-timeout', ackTimeout)
  if (retries !== undefined) config.retriesMax = wholeNumber('--retries', retries, -1)
  if (deadLetterTopic !== undefined) config.deadLetterTopic = deadLetterTopic
  for (const text of set) {
    const [name, value] = pair('--set', text)
    config[name] = valueOfText(value)
  }
  if (retry !== undefined) config.retry = retry
  return config
}
