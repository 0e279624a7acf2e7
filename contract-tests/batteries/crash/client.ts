/**
 * One client that lives through all the crashes of its server: it reconnects, and publishes again what was not acknowledged,
 * as the client's documentation tells applications to. So a message may be stored as often as it was tried and not
 * acknowledged, and what was acknowledged stands where its receipt says.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type Client, connect, isRatatoskrError } from 'ratatoskr/client'
import type { PublishReceipt } from 'ratatoskr/ports'
import type { StoredMessage } from '../../testing/chaos.ts'
import { readBack } from '../harness/read-back.ts'

// Each writer has one publish under way, so that its messages have an order even though it tries again.
const writers = 6
const pauseMs = 2
const passing = ['RTK_DISCONNECTED', 'RTK_UNAVAILABLE', 'RTK_TIMEOUT', 'RTK_OVERLOADED']

interface Attempts {
  tried: number
  receipt: PublishReceipt | undefined
}

export class LastingClient implements AsyncDisposable {
  readonly #client: Client
  readonly #topic: string
  readonly #writers: Promise<void>[] = []
  /** By `writer:sequence`. */
  readonly #sent = new Map<string, Attempts>()
  #over = false
  retries = 0

  private constructor(client: Client, topic: string) {
    this.#client = client
    this.#topic = topic
  }

  /** Begins to publish to a topic that is there. */
  static async start(url: string, topic: string): Promise<LastingClient> {
    const client = await connect(url, {
      reconnect: { baseMs: 20, maxMs: 200 },
      timeoutMs: 30_000,
      platform: nodePlatform({ logger: silentLogger }),
    })
    const lasting = new LastingClient(client, topic)
    for (let i = 0; i < writers; i++) lasting.#writers.push(lasting.#write(`lasting-${i}`))
    // Whoever finishes is told; until then nobody listens.
    for (const writer of lasting.#writers) writer.catch(() => undefined)
    return lasting
  }

  /** Ends the writers, reads everything back while the server runs, and asserts that it is right. @returns messages stored */
  async finish(reader: Client): Promise<number> {
    this.#over = true
    await Promise.all(this.#writers)
    const stored = await readBack(reader, this.#topic)
    const problems = [...this.#problems(stored)]
    if (problems.length === 0) return stored.length
    throw new Error(
      `a client that reconnects: ${problems.length} problems: ${problems.slice(0, 5).join('; ')}`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true
    await this.#client.close({ timeoutMs: 1_000 })
    await Promise.allSettled(this.#writers)
  }

  async #write(name: string): Promise<void> {
    for (let sequence = 0; !this.#over; sequence++) {
      const key = `${name}:${sequence}`
      const attempts: Attempts = { tried: 0, receipt: undefined }
      this.#sent.set(key, attempts)
      await this.#publish(key, attempts)
      await pause(pauseMs)
    }
  }

  async #publish(key: string, attempts: Attempts): Promise<void> {
    for (;;) {
      attempts.tried++
      try {
        attempts.receipt = await this.#client.publish(this.#topic, `${key}:again and again`)
        return
      } catch (error) {
        if (!isRatatoskrError(error) || !passing.includes(error.code)) throw error
        this.retries++
      }
      await pause(pauseMs)
    }
  }

  *#problems(stored: readonly StoredMessage[]): Generator<string> {
    const copies = new Map<string, StoredMessage[]>()
    const last = new Map<string, number>()
    for (const message of stored) {
      const { producer, sequence, partition } = message
      const key = `${producer}:${sequence}`
      if (!this.#sent.has(key)) yield `${key} was never published`
      copies.set(key, [...(copies.get(key) ?? []), message])
      const stream = `${producer} in partition ${partition}`
      const before = last.get(stream) ?? -1
      if (sequence < before) yield `${stream}: ${sequence} stands after ${before}`
      last.set(stream, sequence)
    }
    for (const [key, { tried, receipt }] of this.#sent) {
      const found = copies.get(key) ?? []
      if (found.length > tried) yield `${key} was tried ${tried} times and is stored ${found.length} times`
      if (receipt === undefined) continue
      const there = found.some(
        ({ partition, offset, id }) =>
          partition === receipt.partition && offset === receipt.offset && id === receipt.id,
      )
      if (!there) yield `${key} was acknowledged at ${receipt.partition}/${receipt.offset} and is not there`
    }
  }
}
