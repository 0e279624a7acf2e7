/**
 * Writes down who did what: connections, refusals, topics, subscribers, and publishes when asked. Each line of the file
 * carries the hash of the one before (see chain.ts); `verifyAuditLog` and `ratatoskr audit verify` check it.
 *
 * Events wait in a bounded queue and are written in the background. When the disk cannot keep up, events are dropped
 * and counted, and the count becomes a line of its own: the log never claims to be complete when it is not.
 */
import type {
  BackgroundQueue,
  ConnectEvent,
  Plugin,
  PluginContext,
  Principal,
  RatatoskrError,
  SubscriberEvent,
  TopicEvent,
} from 'ratatoskr/ports'
import { AuditFile } from './audit-file.ts'
import type { AuditEntry } from './chain.ts'

export { genesisHash } from './chain.ts'
export { type BrokenAuditLog, type IntactAuditLog, type VerifyOptions, verifyAuditLog } from './verify.ts'

/** Where the audit log is, and what is written down. */
export interface AuditPluginOptions {
  /** The file to append to; made with mode 0600, its directory with it, when it does not exist. One process writes it. */
  readonly file: string
  /** Records a line for each stored batch and each failed publish, too. False by default. */
  readonly publishes?: boolean | undefined
  /** Waits for the disk after each write, in the background. True by default. */
  readonly fsync?: boolean | undefined
  /** Events that may wait to be written. 10,000 by default. */
  readonly queueItemsMax?: number | undefined
  /** The plugin's name, when a broker writes several logs. `audit` by default. */
  readonly name?: string | undefined
}

/** Makes the plugin. @throws TypeError without a file */
export function auditPlugin(options: AuditPluginOptions): Plugin {
  if (typeof options?.file !== 'string' || options.file === '') {
    throw new TypeError('auditPlugin needs the path of a file')
  }
  let recorder: Recorder | undefined
  return {
    name: options.name ?? 'audit',
    setup: async (context) => {
      recorder = new Recorder(context, options)
      await recorder.open()
    },
    close: async () => {
      await recorder?.close()
      recorder = undefined
    },
  }
}

/** Between two writes, at most so many lines: bounds what one write holds in memory. */
const linesPerWriteMax = 512

/** Longest text of a field that a caller can influence, in characters. */
const textMax = 1_024

class Recorder {
  readonly #context: PluginContext
  readonly #file: AuditFile
  readonly #queue: BackgroundQueue<AuditEntry>
  /** Events that failed to be written, beside those that the queue dropped. */
  #lost = 0
  /** Lost and dropped events that a line tells of. */
  #told = 0

  constructor(context: PluginContext, options: AuditPluginOptions) {
    this.#context = context
    this.#file = new AuditFile({ path: options.file, fsync: options.fsync ?? true, now: () => this.#time() })
    this.#queue = context.backgroundQueue<AuditEntry>({
      name: 'lines',
      itemsMax: options.queueItemsMax ?? 10_000,
      batchMax: linesPerWriteMax,
      handle: (entries) => this.#write(entries),
    })
    this.#observeAdministration()
    if (options.publishes === true) this.#observePublishes()
  }

  async open(): Promise<void> {
    await this.#file.append([{ time: this.#time(), event: 'auditOpened' }])
  }

  async close(): Promise<void> {
    try {
      await this.#write([{ time: this.#time(), event: 'auditClosed' }])
    } finally {
      await this.#file.close()
    }
  }

  async #write(entries: readonly AuditEntry[]): Promise<void> {
    const missing = this.#queue.dropped + this.#lost - this.#told
    const dropped: AuditEntry = { time: this.#time(), event: 'auditDropped', count: missing }
    try {
      await this.#file.append(missing > 0 ? [dropped, ...entries] : entries)
      this.#told += missing
    } catch (error) {
      this.#lost += entries.length
      throw error
    }
  }

  #observeAdministration(): void {
    const context = this.#context
    for (const event of ['topicCreated', 'topicAltered', 'topicDeleted'] as const) {
      context.on(event, (topic) => this.#record(event, topicFields(topic)))
    }
    for (const event of ['connected', 'disconnected'] as const) {
      context.on(event, (connection) => this.#record(event, connectionFields(connection)))
    }
    context.on('subscriberJoined', (subscriber) =>
      this.#record('subscriberJoined', subscriberFields(subscriber)),
    )
    for (const event of ['subscriberLeft', 'subscriberFailed'] as const) {
      context.on(event, (subscriber) =>
        this.#record(event, { ...subscriberFields(subscriber), code: codeOf(subscriber.error) }),
      )
    }
    context.on('deadLettered', ({ topic, partition, offset, group, reason, attempts, deadLetterTopic }) =>
      this.#record('deadLettered', { topic, partition, offset, group, reason, attempts, deadLetterTopic }),
    )
    context.on('connectRefused', ({ peer, error }) =>
      this.#record('connectRefused', {
        peer: { transport: peer.transport, address: cut(peer.address) },
        code: error.code,
      }),
    )
    context.on('denied', ({ principal, action, resource }) =>
      this.#record('denied', { principal: who(principal), action: cut(action), resource: cut(resource) }),
    )
    context.on('profileStarted', ({ principal, kind, durationMs }) =>
      this.#record('profileStarted', { principal: who(principal), kind, durationMs }),
    )
  }

  #observePublishes(): void {
    this.#context.on(
      'messagePublished',
      ({ topic, partition, baseOffset, recordCount, sizeBytes, durability }) =>
        this.#record('messagePublished', {
          topic: cut(topic),
          partition,
          baseOffset,
          recordCount,
          sizeBytes,
          durability,
        }),
      { batches: false },
    )
    this.#context.on('publishFailed', ({ topic, partition, recordCount, sizeBytes, error }) =>
      this.#record('publishFailed', {
        topic: cut(topic),
        partition,
        recordCount,
        sizeBytes,
        code: codeOf(error),
      }),
    )
  }

  #record(event: string, fields: Readonly<Record<string, unknown>>): undefined {
    this.#queue.offer({ time: this.#time(), event, ...fields })
  }

  #time(): string {
    return new Date(this.#context.clock.now()).toISOString()
  }
}

const cut = (text: string): string => (text.length > textMax ? `${text.slice(0, textMax)}…` : text)
const codeOf = (error: RatatoskrError | undefined): string | undefined => error?.code

const who = ({ name, namespace }: Principal) => ({ name: cut(name), namespace: cut(namespace) })

const topicFields = ({ topic, topicId, config, principal }: TopicEvent) => ({
  topic: cut(topic),
  topicId,
  principal: who(principal),
  config,
})

const connectionFields = ({ sessionId, peer, principal }: ConnectEvent) => ({
  sessionId,
  transport: cut(peer.transport),
  address: cut(peer.address),
  encrypted: peer.encrypted,
  principal: who(principal),
})

const subscriberFields = ({ topic, group, subscriptionId, principal }: SubscriberEvent) => ({
  topic: cut(topic),
  group,
  subscriptionId,
  principal: who(principal),
})
