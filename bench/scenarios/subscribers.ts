/** `subscribers`: 50, 1,000 and 10,000 on one topic over WebSocket: what an idle one costs, and that each gets everything. */
import { connect } from 'ratatoskr/client'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { sleep } from '../harness/stream.ts'
import type { BrokerMemory } from '../roles/broker.ts'
import type { SwarmCount, SwarmSetup } from '../roles/swarm.ts'
import { kinds, topic, withBroker } from './ours.ts'

interface Crowd {
  readonly size: number
  /** Deliveries a second, and what the broker may take: what the first broker is said to scale to. */
  readonly perSecond: number
  readonly residentMegabytes: number
}

/** Those above `--messages` are left out, for a quick try. */
const crowds: readonly Crowd[] = [
  { size: 50, perSecond: 30_000, residentMegabytes: 64 },
  { size: 1_000, perSecond: 85_000, residentMegabytes: 1_024 },
  { size: 10_000, perSecond: 200_000, residentMegabytes: 4_096 },
]
const bytesPerMegabyte = 1e6
const swarms = 2
/** Fewer say nothing of the memory of one, */
const measuredMin = 1_000
/** and of fewer than so many nothing is asked: what the process takes once, a few megabytes, is shared out among them. */
const askedMin = 10_000
/** They come before what is measured: what they have loaded and compiled is no memory of those who follow. */
const firstSubscribers = 500
/** That many are delivered at least, each to all, before what is measured and then: fewer would time how code is compiled. */
const deliveriesMin = 100_000
const messagesMin = 100
const bytesPerKib = 1024
const deliveredMsMax = 60_000

export const subscribers: Scenario = {
  name: 'subscribers',
  about:
    '50, 1,000 and 10,000 subscribers of one topic over WebSocket: memory of an idle one, loss, deliveries',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const crowd of crowds.filter(({ size }) => size <= options.messages)) {
        await inFolder(options.directory, (directory) => measure(figures, crowd, options, directory))
        options.progress(`run ${run} of ${options.runs}: ${crowd.size} subscribers done`)
      }
    }
    return figures.report(this.name, 'memory')
  },
}

function measure(
  figures: Figures,
  { size, perSecond, residentMegabytes }: Crowd,
  options: ScenarioOptions,
  directory: string,
): Promise<void> {
  const setup = {
    kept: kinds.memory,
    transport: 'ws',
    topics: [topic],
    directory,
    nodeFlags: ['--expose-gc'],
  } as const
  return withBroker(setup, options, async ({ address: url, server }) => {
    const memory = async () => (await server.ask('memory')) as BrokerMemory
    await using stack = new AsyncDisposableStack()
    const first = stack.use(new BenchProcess('swarm'))
    await first.ask('start', { url, topic: 'first', subscribers: firstSubscribers, stalled: false })
    await memory() // the first collection frees what starting left
    const before = await memory()
    const processes = Array.from({ length: swarms }, () => stack.use(new BenchProcess('swarm')))
    const each: SwarmSetup = { url, topic, subscribers: size / swarms, stalled: false }
    await Promise.all(processes.map((process) => process.ask('start', each)))
    await sleep(1_000)
    const after = await memory()
    if (size >= measuredMin) {
      const perSubscriber = (part: 'rssBytes' | 'usedBytes') =>
        (after[part] - before[part]) / size / bytesPerKib
      figures.add(
        `${size} idle subscribers: resident, each`,
        'KiB',
        perSubscriber('rssBytes'),
        size < askedMin ? undefined : { atMost: 8 },
      )
      figures.add(`${size} idle subscribers: in use, each`, 'KiB', perSubscriber('usedBytes'))
    }
    const messages = Math.max(messagesMin, deliveriesMin / size)
    await deliver(url, processes, messages, options.payloadBytes)
    const seconds = await deliver(url, processes, messages, options.payloadBytes)
    figures.add(`${size} subscribers: deliveries`, '/s', (size * messages) / seconds, { atLeast: perSecond })
    const { rssBytes } = await memory()
    figures.add(`${size} subscribers: the broker, resident`, 'MB', rssBytes / bytesPerMegabyte, {
      atMost: residentMegabytes,
    })
  })
}

/** Publishes messages, each when the one before is stored, and waits until each subscriber has all. @returns seconds @throws Error when one is missing */
async function deliver(
  url: string,
  processes: readonly BenchProcess[],
  messages: number,
  payloadBytes: number,
): Promise<number> {
  await using client = await connect(url)
  const payload = new Uint8Array(payloadBytes)
  const counted = async () =>
    (await Promise.all(processes.map((process) => process.ask('counted')))) as SwarmCount[]
  const before = await counted()
  const beginMs = performance.now()
  for (let message = 0; message < messages; message++) await client.publish(topic, payload)
  for (;;) {
    const counts = await counted()
    const elapsedMs = performance.now() - beginMs
    const all = counts.every(({ least }, place) => least === before[place].least + messages)
    if (all && counts.every(({ missing }) => missing === 0)) return elapsedMs / 1_000
    if (elapsedMs > deliveredMsMax) throw new Error(`not all was delivered: ${JSON.stringify(counts)}`)
    await sleep(5)
  }
}
