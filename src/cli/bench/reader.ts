/** One consumer of `ratatoskr bench`: reads everything that comes, and checks it. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import type { Client } from '../../client/client.ts'
import { checkBatches } from './check-batch.ts'
import { ManyChecker } from './many-checker.ts'
import type { Findings } from './messages.ts'

export interface ReaderOptions {
  readonly topic: string
  readonly producers: number
  readonly payloadBytes: number
  /** Messages one by one, instead of whole batches. */
  readonly single: boolean
  /** Each message has a time of its own. */
  readonly everyTimed: boolean
}

export class Reader {
  readonly #checker: ManyChecker
  readonly #running: Promise<void>
  #failure: unknown
  #receivedBefore = 0

  private constructor(checker: ManyChecker, running: Promise<void>) {
    this.#checker = checker
    this.#running = running
    this.#running.catch((error) => {
      this.#failure = error
    })
  }

  /** Resolves when everything that is published from now on will come. */
  static async open(client: Client, options: ReaderOptions): Promise<Reader> {
    const { topic, producers, payloadBytes, single, everyTimed } = options
    const checker = new ManyChecker(producers, payloadBytes, everyTimed)
    const from = 'latest'
    if (single) {
      const messages = await client.subscribe(topic, { from })
      const take = async () => {
        for await (const { payload } of messages) checker.take(payload)
      }
      return new Reader(checker, take())
    }
    const subscription = await client.batches(topic, { from })
    const { checksum } = nodePlatform()
    const take = async () => {
      for await (const batch of subscription) checkBatches(checker, batch, checksum)
    }
    return new Reader(checker, take())
  }

  /** Messages so far. @throws what ended the subscription */
  get received(): number {
    if (this.#failure !== undefined) throw this.#failure
    return this.#checker.received
  }

  receivedOf(producer: number): number {
    return this.#checker.receivedOf(producer)
  }

  windowBegin(): void {
    this.#receivedBefore = this.received
    this.#checker.windowBegin()
  }

  /** Messages since `windowBegin`. */
  get receivedInWindow(): number {
    return this.received - this.#receivedBefore
  }

  /** Latencies since `windowBegin`, in milliseconds. */
  get samples(): readonly Float64Array[] {
    return this.#checker.samples
  }

  findings(sent: readonly number[]): Findings {
    return this.#checker.findings(sent)
  }
}
