/**
 * Many subscribers, many topics, many bytes: `npm run test:stress -- --report stress.json`.
 * Counts and bytes are asserted; times are printed, for whoever wants to compare.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { type Client, connect } from 'ratatoskr/client'
import { seededDraw } from '../../seeded-draw.ts'
import { startTestBroker } from '../../testing/start-test-broker.ts'
import { Battery, batteryOptions } from '../harness/battery.ts'

const { seed, report } = batteryOptions({ rounds: 1 })
const battery = new Battery(report)
const MIB = 1024 * 1024
process.stdout.write(`stress: seed ${seed}\n`)

const transports = () => [
  grpcTransport({ port: 0 }),
  webSocketTransport({ port: 0 }),
  httpTransport({ port: 0 }),
]
const urlOf = (broker: EmbeddedBroker, scheme: string): string =>
  broker.addresses.find(({ url }) => url.startsWith(`${scheme}:`))?.url as string

/** Counts what subscribers get, and that each gets 0, 1, 2, … without a gap. */
class Audience {
  readonly #wanted: number
  readonly #complete = Promise.withResolvers<void>()
  readonly #problems: string[] = []
  #left = 0

  constructor(wanted: number) {
    this.#wanted = wanted
  }

  /** A handler for one more subscriber. */
  member(name: string): (message: { text(): string }) => void {
    this.#left++
    let next = 0
    return (message) => {
      if (message.text() !== `${next}`) this.#problems.push(`${name}: ${message.text()} instead of ${next}`)
      if (++next === this.#wanted && --this.#left === 0) this.#complete.resolve()
      if (next > this.#wanted) this.#problems.push(`${name}: more than ${this.#wanted}`)
    }
  }

  async done(): Promise<void> {
    const timer = Promise.withResolvers<never>()
    const timeout = setTimeout(
      () => timer.reject(new Error(`${this.#left} subscribers lack messages`)),
      60_000,
    )
    await Promise.race([this.#complete.promise, timer.promise]).finally(() => clearTimeout(timeout))
    if (this.#problems.length > 0)
      throw new Error(`${this.#problems.length} problems: ${this.#problems.slice(0, 5).join('; ')}`)
  }
}

async function fanOut(
  broker: EmbeddedBroker,
  clients: readonly Pick<Client, 'subscribe'>[],
  topics: readonly string[],
  subscribersPerTopic: number,
): Promise<string> {
  const messages = 1_000
  const audience = new Audience(messages)
  for (const topic of topics) await broker.createTopic(topic)
  await Promise.all(
    topics.flatMap((topic) =>
      Array.from({ length: subscribersPerTopic }, (_, i) =>
        clients[i % clients.length].subscribe(topic, audience.member(`${topic}/${i}`), { timeoutMs: 30_000 }),
      ),
    ),
  )
  const begun = performance.now()
  for (let i = 0; i < messages; i += 100) {
    const batch = Array.from({ length: 100 }, (_, place) => ({ payload: `${i + place}` }))
    await Promise.all(topics.map((topic) => broker.publishMany(topic, batch)))
  }
  await audience.done()
  const deliveries = topics.length * subscribersPerTopic * messages
  return `${Math.round(deliveries / (performance.now() - begun))}k deliveries/s`
}

await battery.run('500 subscribers, 1,000 messages, embedded', async () => {
  await using broker = await startTestBroker()
  return await fanOut(broker, [broker], ['crowd'], 500)
})

await battery.run('500 subscribers, 1,000 messages, WebSocket', async () => {
  await using broker = await startTestBroker({ transports: transports() })
  const clients = await Promise.all(Array.from({ length: 500 }, () => connect(urlOf(broker, 'ws'))))
  const told = await fanOut(broker, clients, ['crowd'], 500)
  await Promise.all(clients.map((client) => client.close()))
  return told
})

await battery.run('5 topics x 20 subscribers, all transports', async () => {
  await using broker = await startTestBroker({ transports: transports() })
  const clients = await Promise.all(['grpc', 'ws', 'http'].map((scheme) => connect(urlOf(broker, scheme))))
  const topics = ['one', 'two', 'three', 'four', 'five']
  const told = await fanOut(broker, [broker, ...clients], topics, 20)
  await Promise.all(clients.map((client) => client.close()))
  return told
})

await battery.run('1,000 topics open at once, on disk', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-stress-'))
  try {
    const names = Array.from({ length: 1_000 }, (_, i) => `topic.${i}`)
    const first = await startTestBroker({ storage: diskStorage({ directory }) })
    await Promise.all(names.map((name) => first.createTopic(name, {}, { timeoutMs: 60_000 })))
    await Promise.all(names.map((name) => first.publish(name, name, { timeoutMs: 60_000 })))
    await first.stop()
    const begun = performance.now()
    await using second = await startTestBroker({ storage: diskStorage({ directory }) })
    const startMs = Math.round(performance.now() - begun)
    for (const name of names) {
      const found = await second.fetch(name)
      const texts = found.map(({ payload }) => Buffer.from(payload).toString())
      if (texts.join() !== name) throw new Error(`${name} holds ${texts.join() || 'nothing'}`)
    }
    if (second.stats().topics !== 1_000) throw new Error(`${second.stats().topics} topics are open`)
    return `started in ${startMs} ms`
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

/** 100 MB of messages of any bytes and of sizes from none to 256 KiB, the same for the same seed. */
function* binaryMessages(): Generator<{ payload: Uint8Array }> {
  const random = seededDraw(seed)
  const noise = new Uint8Array(MIB).map(() => Math.floor(random() * 256))
  for (let left = 100 * 1_000_000; left > 0; ) {
    const size = Math.min(left, Math.floor(random() * 256 * 1024))
    const start = Math.floor(random() * (MIB - size))
    left -= size
    yield { payload: noise.subarray(start, start + size) }
  }
}

/** Lengths are hashed as well: the same bytes cut elsewhere are other messages. */
class Digest {
  readonly #hash = createHash('sha256')
  messages = 0
  bytes = 0

  add(payload: Uint8Array): void {
    this.#hash.update(`${payload.length}:`).update(payload)
    this.messages++
    this.bytes += payload.length
  }

  get hex(): string {
    return this.#hash.digest('hex')
  }
}

const sent = new Digest()
for (const { payload } of binaryMessages()) sent.add(payload)
const sentHex = sent.hex

for (const scheme of ['grpc', 'ws', 'http']) {
  await battery.run(`100 MB of binary messages and back, ${scheme}`, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-stress-'))
    try {
      await using broker = await startTestBroker({
        storage: diskStorage({ directory }),
        transports: transports(),
      })
      await using client = await connect(urlOf(broker, scheme), { timeoutMs: 60_000 })
      await client.createTopic('binary')
      const begun = performance.now()
      const producer = client.producer({ batchBytesMax: MIB })
      const { messageCount } = await producer.addAll('binary', binaryMessages())
      await producer.close()
      if (messageCount !== sent.messages) throw new Error(`${messageCount} of ${sent.messages} were stored`)
      const got = new Digest()
      await using subscription = await client.subscribe('binary', { from: 'earliest' })
      for await (const { payload } of subscription) {
        got.add(payload)
        if (got.messages === sent.messages) break
      }
      if (got.hex !== sentHex || got.bytes !== sent.bytes)
        throw new Error('what came back is not what was sent')
      return `${Math.round((2 * 100_000) / (performance.now() - begun))} MB/s there and back`
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
}

await battery.finish()
