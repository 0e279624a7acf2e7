/** A queue group that gives messages up, on a whole broker with doubles for its stores and a clock that stands still. */
import {
  type DeadLetterRequest,
  type Message,
  messagesOf,
  type OutgoingMessage,
  type QueueConfig,
  type StoredDeadLetter,
  utf8Text,
} from '../../../ports/index.ts'
import { QueueBench, type QueueBenchOptions } from '../../queues/testing/queue-bench.ts'

const settings: Partial<QueueConfig> = { sharing: 'shared', retriesMax: 0, ackTimeoutMs: 1_000_000 }

export class LetterBench {
  readonly queue: QueueBench

  constructor(queue: QueueBench) {
    this.queue = queue
  }

  static async start(options: QueueBenchOptions = {}): Promise<LetterBench> {
    return new LetterBench(await QueueBench.start(options))
  }

  get session() {
    return this.queue.session
  }

  /** Publishes messages that a group then gives up, each with an error of its own. */
  async bury(count: number, fields: Partial<OutgoingMessage> = {}, group = 'g'): Promise<void> {
    await this.queue.publish(count, fields)
    await this.giveUp({ group })
  }

  /** Lets a group give up what it can get. */
  async giveUp({ group = 'g', config = {} }: { group?: string; config?: Partial<QueueConfig> } = {}) {
    const sink = await this.queue.join({ group, config: { ...settings, ...config } })
    let number = 0
    for (const { partition, lease, firstOffset, lastOffset } of sink.batches) {
      for (let from = firstOffset; from <= lastOffset; from++) {
        const reason = `error ${number++} of ${group}`
        await sink.subscription.settle([{ action: 'nack', partition, lease, from, to: from + 1, reason }])
      }
    }
    await this.queue.pass(0)
    await sink.subscription.close()
  }

  async letters(request: DeadLetterRequest = {}, topic = 'orders'): Promise<readonly StoredDeadLetter[]> {
    return (await this.session.deadLetters(topic, request)).letters
  }

  /** Errors of the letters that are there. */
  async errors(request: DeadLetterRequest = {}): Promise<readonly string[]> {
    return (await this.letters(request)).map(({ error }) => error)
  }

  /** Everything that one partition of a topic holds. */
  async messages(topic = 'orders', partition = 0): Promise<readonly Message[]> {
    const { bytes, topicId } = await this.session.fetch(topic, { partition, offset: 'earliest' })
    const source = { topic, topicId, partition, expansion: { codecs: new Map(), bytesMax: 100_000_000 } }
    return [...messagesOf(bytes, source)]
  }

  /** Payloads of what was published again, in order. */
  async redriven(topic = 'orders', partition = 0): Promise<readonly string[]> {
    return (await this.messages(topic, partition))
      .filter(({ headers }) => headers.some(([name]) => name === 'rtk-redrives'))
      .map(({ payload }) => utf8Text(payload))
  }

  /** Lets a promise settle that waits for the clock. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let done = false
    const end = promise.finally(() => {
      done = true
    })
    end.catch(() => {})
    for (let i = 0; i < 200 && !done; i++) await this.queue.pass(0)
    return await end
  }
}
