/** `ratatoskr topic …`. */

import { parseQueueSettings } from '../../domain/queue/queue-config-rules.ts'
import { retryPolicyText } from '../../domain/queue/retry-policy.ts'
import {
  formatTopicRef,
  RatatoskrError,
  type RetentionPolicy,
  type RetryPolicy,
  type TopicConfig,
  type TopicDescription,
} from '../../ports/index.ts'
import { valueOfText } from '../config/settings.ts'
import { type ConnectionOptions, pair, wholeNumber, withClient } from '../connection.ts'
import { printRecord, printRows } from '../output.ts'

interface TopicSettings extends ConnectionOptions {
  readonly partitions?: string
  readonly retentionMessages?: string
  readonly retention?: string
  readonly set?: readonly string[]
}

/** What the names of the settings of the topic's queue groups begin with. */
const queuePrefix = 'queue.'

const columns = ['topic', 'partitions', 'messages', 'bytes', 'durability', 'retentionMs']

export const createTopic = (name: string, options: TopicSettings): Promise<void> =>
  withClient(options, async (client) => {
    const { created, topic } = await client.createTopic(name, configOf(options))
    process.stderr.write(
      created
        ? `created ${formatTopicRef(topic)}\n`
        : `${formatTopicRef(topic)} exists with this configuration\n`,
    )
    await printRecord(summaryOf(topic), options.output)
  })

export const listTopics = (options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) =>
    printRows((await client.listTopics()).map(summaryOf), columns, options.output),
  )

export const describeTopic = (name: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) => {
    const topic = await client.describeTopic(name)
    if (options.output !== 'table') return printRecord(topic, options.output)
    await printRecord(
      {
        topic: formatTopicRef(topic),
        id: topic.id,
        created: new Date(topic.createdAtMs).toISOString(),
        ...settingsOf(topic.config),
      },
      'table',
    )
    process.stdout.write('\n')
    await printRows(
      topic.partitions.map((partition) => ({
        ...partition,
        damaged: partition.damaged.map(({ from, to }) => `${from}-${to - 1}`).join(' '),
      })),
      ['partition', 'startOffset', 'stableOffset', 'endOffset', 'sizeBytes', 'state', 'damaged'],
      'table',
    )
  })

export const alterTopic = (name: string, options: TopicSettings): Promise<void> =>
  withClient(options, async (client) => {
    const changes = configOf(options)
    if (Object.keys(changes).length === 0)
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        'nothing to alter: give --partitions, --retention, --retention-messages or --set key=value',
      )
    await printRecord(summaryOf(await client.alterTopic(name, changes)), options.output)
  })

export const deleteTopic = (name: string, options: ConnectionOptions & { yes?: boolean }): Promise<void> =>
  withClient(options, async (client) => {
    if (options.yes !== true && !(await confirmed(name))) {
      throw new RatatoskrError(
        'RTK_CANCELLED',
        `${name} was not deleted; give --yes to delete without being asked`,
      )
    }
    await client.deleteTopic(name)
    process.stderr.write(`deleted ${name}\n`)
  })

/** Asks on the terminal; where there is none, the answer is no. */
async function confirmed(name: string): Promise<boolean> {
  if (process.stdin.isTTY !== true) return false
  const { createInterface } = await import('node:readline/promises')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`delete ${name} and all its messages? Type its name: `)
  terminal.close()
  return answer === name
}

function configOf(settings: TopicSettings): Partial<TopicConfig> {
  const { partitions, retentionMessages, retention, set = [] } = settings
  const config: Record<string, unknown> = {}
  const queue: Record<string, unknown> = {}
  for (const text of set) {
    const [key, value] = pair('--set', text)
    if (key.startsWith(queuePrefix)) queue[key.slice(queuePrefix.length)] = valueOfText(value)
    else config[key] = valueOfText(value)
  }
  return {
    ...config,
    // Checked here already: a retry policy has a text form that no protocol carries.
    ...(Object.keys(queue).length > 0 && { queue: parseQueueSettings(queue) }),
    ...(partitions !== undefined && { partitions: wholeNumber('--partitions', partitions, 1) }),
    ...(retentionMessages !== undefined && {
      retentionMessages: wholeNumber('--retention-messages', retentionMessages, -1),
    }),
    // The broker knows the policies, and says so of one that is none.
    ...(retention !== undefined && { retention: retention as RetentionPolicy }),
  }
}

/** Settings by the names that `--set` takes. */
function settingsOf({ queue = {}, ...config }: TopicConfig): Readonly<Record<string, unknown>> {
  const named = Object.entries(queue).map(([name, value]) => [
    `${queuePrefix}${name}`,
    name === 'retry' ? retryPolicyText(value as RetryPolicy) : value,
  ])
  return { ...config, ...Object.fromEntries(named) }
}

const summaryOf = (topic: TopicDescription) => ({
  topic: formatTopicRef(topic),
  partitions: topic.partitions.length,
  messages: topic.partitions.reduce(
    (sum, { startOffset, stableOffset }) => sum + stableOffset - startOffset,
    0,
  ),
  bytes: topic.partitions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  durability: topic.config.durability,
  retentionMs: topic.config.retentionMs,
})
