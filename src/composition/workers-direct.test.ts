/** Clients of a broker of three workers that share a port: what is much reaches the owner of its partition directly. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { type Client, connect } from 'ratatoskr/client'
import { afterEach, describe, expect, it } from 'vitest'
import { type Storage, utf8Text } from '../ports/index.ts'
import { brokerWith } from './create-broker.ts'
import type { EmbeddedBroker } from './embedded-broker.ts'
import { ThreadsHere } from './testing/threads-here.ts'

const platform = nodePlatform({ logger: silentLogger })
const topic = 'orders'
const partitions = 6
const transports = { tcp: tcpTransport, ws: webSocketTransport }

class Rig implements AsyncDisposable {
  readonly broker: EmbeddedBroker
  readonly threads: ThreadsHere
  readonly url: string

  private constructor(broker: EmbeddedBroker, threads: ThreadsHere, url: string) {
    this.broker = broker
    this.threads = threads
    this.url = url
  }

  static async start(scheme: 'tcp' | 'ws', storageOf: (index: number) => Storage): Promise<Rig> {
    const make = transports[scheme]
    const entry = make({ port: 0, reusePort: true })
    const options = (index: number) => ({ storage: storageOf(index), platform })
    const threads = new ThreadsHere(3, options, (_, [port]) => make({ port, reusePort: true }))
    const broker = await brokerWith({ ...options(0), transports: [entry] }, threads)
    await broker.start()
    return new Rig(broker, threads, entry.address?.url ?? '')
  }

  /** What came in through the workers beside the controller. */
  published(): readonly number[] {
    return [1, 2].map((index) => this.threads.workers.get(index)?.stats().messagesPublished ?? 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker.stop()
  }
}

const until = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function textsOf(client: Client, partition: number): Promise<readonly string[]> {
  const texts: string[] = []
  for (let offset = 0; ; offset += 1) {
    const batch = await client.fetch(topic, { partition, offset })
    if (batch.length === 0) return texts
    texts.push(...batch.map(({ payload }) => utf8Text(payload)))
    offset = batch[batch.length - 1].offset
  }
}

describe.each(['tcp', 'ws'] as const)('a client over %s', (scheme) => {
  it('reaches the owners of the partitions that it sends much to', async () => {
    await using rig = await Rig.start(scheme, () => memoryStorage())
    await using client = await connect(rig.url)
    await client.createTopic(topic, { partitions })
    const sent: string[] = []
    const round = async (): Promise<void> => {
      const text = `${sent.length}`
      sent.push(text)
      const all = Array.from({ length: partitions }, (_, partition) => partition)
      await Promise.all(all.map((partition) => client.publish(topic, text, { partition })))
    }
    /** True when each worker got in a round what belongs to it, and no more. */
    const direct = async (): Promise<boolean> => {
      const before = rig.published()
      await round()
      return rig.published().every((count, i) => count - before[i] === partitions / 3)
    }
    await until(direct)
    expect(await direct()).toBe(true)
    for (let partition = 0; partition < partitions; partition++) {
      expect(await textsOf(client, partition)).toEqual(sent)
    }
  })
})

describe('a worker that ends', () => {
  let directory = ''
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('costs clients that publish and read a pause: all is stored once and in order, and read so', async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-direct-'))
    const storageOf = (index: number) => diskStorage({ directory: join(directory, `${index}`) })
    await using rig = await Rig.start('tcp', storageOf)
    const clients = await Promise.all([1, 2, 1, 3].map((connections) => connect(rig.url, { connections })))
    await clients[0].createTopic(topic, { partitions, durability: 'os' })
    const read: string[][] = Array.from({ length: partitions }, () => [])
    await Promise.all(
      read.map((texts, partition) =>
        clients[partition % 4].subscribe(topic, (message) => void texts.push(message.text()), {
          partitions: [partition],
          from: 'earliest',
        }),
      ),
    )
    const sent: string[][] = Array.from({ length: partitions }, () => [])
    let running = true
    const writers = sent.map(async (texts, partition) => {
      const client = clients[(partition + 1) % 4]
      while (running) {
        const some = Array.from({ length: 5 }, (_, i) => `${texts.length + i}`)
        texts.push(...some)
        await Promise.all(some.map((text) => client.publish(topic, text, { partition })))
      }
    })
    const grown = (more: number) => {
      const before = sent.map(({ length }) => length)
      return until(() => sent.every(({ length }, i) => length > before[i] + more))
    }
    await grown(400)
    for (const index of [1, 2]) {
      await rig.threads.kill(index)
      await until(() => rig.threads.workers.has(index))
      await grown(400)
    }
    running = false
    await Promise.all(writers)
    await until(() => read.every(({ length }, i) => length >= sent[i].length))
    for (let partition = 0; partition < partitions; partition++) {
      expect(await textsOf(clients[0], partition)).toEqual(sent[partition])
      expect(read[partition]).toEqual(sent[partition])
    }
    await Promise.all(clients.map((client) => client.close()))
  })
})
