/** Those who publish to the topic, and those who take from it, over connections that come back. */
import { setTimeout as pause } from 'node:timers/promises'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type Client, connect } from 'ratatoskr/client'
import { type Sharing, utf8Text } from 'ratatoskr/ports'
import type { Handling, Ledger } from './ledger.ts'

export const topicName = 'work'

const keys = 24
const publishesInFlight = 8
const handlerMsMax = 4

/** A client that outlives the crashes of its server. */
export const lastingClient = (url: string): Promise<Client> =>
  connect(url, {
    reconnect: { baseMs: 20, maxMs: 200 },
    timeoutMs: 30_000,
    platform: nodePlatform({ logger: silentLogger }),
  })

export interface GroupPlan {
  readonly name: string
  readonly sharing: Sharing
}

/** Takes messages as one member of a group until it is closed. */
export async function join(
  client: Client,
  group: GroupPlan,
  member: string,
  ledger: Ledger,
  random: () => number,
): Promise<AsyncDisposable> {
  const subscription = await client.subscribe(
    topicName,
    async (message) => {
      const [name] = utf8Text(message.payload).split(' ', 1)
      const handling: Handling = {
        group: group.name,
        member,
        partition: message.partition,
        offset: message.offset,
        name,
        key: message.key === undefined ? '' : utf8Text(message.key),
        attempt: message.attempt,
        redelivered: message.redelivered,
        beganMs: performance.now(),
        endedMs: undefined,
      }
      ledger.handlings.push(handling)
      await pause(random() * handlerMsMax)
      handling.endedMs = performance.now()
    },
    { group: group.name, member, sharing: group.sharing, concurrency: 16, retriesMax: -1 },
  )
  return { [Symbol.asyncDispose]: () => subscription.close() }
}

/** Publishes numbered messages until it is told to end. */
export class Publisher {
  readonly #client: Client
  readonly #name: string
  readonly #ledger: Ledger
  readonly #random: () => number
  #over = false
  #published = 0
  /** Publishes that were refused; each may be stored or not. */
  refused = 0
  readonly #lanes: Promise<void>[]

  constructor(client: Client, name: string, ledger: Ledger, random: () => number) {
    this.#client = client
    this.#name = name
    this.#ledger = ledger
    this.#random = random
    this.#lanes = Array.from({ length: publishesInFlight }, () => this.#publish())
  }

  async end(): Promise<void> {
    this.#over = true
    await Promise.all(this.#lanes)
  }

  async #publish(): Promise<void> {
    while (!this.#over) {
      const name = `${this.#name}:${this.#published++}`
      const key = this.#random() < 0.1 ? undefined : `k${Math.floor(this.#random() * keys)}`
      try {
        const payload = name.padEnd(200, ' .')
        const { partition, offset } = await this.#client.publish(topicName, payload, { key })
        this.#ledger.acked.set(name, { partition, offset })
      } catch {
        this.refused++
        await pause(20)
      }
      await pause(this.#random() * 4)
    }
  }
}
