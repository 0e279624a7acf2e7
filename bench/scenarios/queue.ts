/**
 * `queue-embedded`, `queue-grpc`: a shared queue group whose one member takes what is stored and acknowledges each message by
 * itself, in the broker's process and over gRPC from another.
 */
import { Figures } from '../harness/figures.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { BrokerSetup } from '../roles/broker.ts'
import type { QueueDrain, QueueFill, QueueRate, QueueSetup } from '../roles/queue.ts'
import { addQueuePeers } from './queue-peers.ts'

const topic = 'bench'
const payloadBytes = 1024
/** More would be a matter of memory, not of leases. */
const messagesMax = 300_000

interface Asked {
  readonly messagesPerSecond: number
  readonly ackMsP99?: number
}

const kinds: Readonly<Record<'embedded' | 'grpc', Asked>> = {
  embedded: { messagesPerSecond: 500_000, ackMsP99: 1 },
  grpc: { messagesPerSecond: 200_000 },
}

export function queueScenario(link: keyof typeof kinds): Scenario {
  const { messagesPerSecond, ackMsP99 } = kinds[link]
  return {
    name: `queue-${link}`,
    about: `a shared queue group, ${link === 'embedded' ? 'in process' : 'over gRPC'}: 1 KiB messages, each acknowledged by itself`,
    async run(options) {
      const figures = new Figures()
      for (let run = 1; run <= options.runs; run++) {
        const rate = link === 'embedded' ? await drainFrom(undefined, options) : await overGrpc(options)
        if (rate.wrong !== 0) throw new Error(`${rate.wrong} messages came twice or are not acknowledged`)
        figures.add('delivered and acknowledged', '/s', rate.messagesPerSecond, {
          atLeast: messagesPerSecond,
        })
        const p99 = 'from ack() to its answer, p99'
        figures.add('from ack() to its answer, p50', 'ms', rate.ackMs.p50)
        figures.add(p99, 'ms', rate.ackMs.p99, ackMsP99 === undefined ? undefined : { atMost: ackMsP99 })
        const drained = Math.min(options.messages, messagesMax)
        await addQueuePeers(figures, rate.messagesPerSecond, drained, payloadBytes, options)
        options.progress(`run ${run} of ${options.runs}: ${Math.round(rate.messagesPerSecond)} messages/s`)
      }
      return figures.report(this.name, 'memory')
    },
  }
}

async function overGrpc(options: ScenarioOptions): Promise<QueueRate> {
  const { verifyRecords, profileDirectory } = options
  await using broker = new BenchProcess('broker', { profileDirectory })
  const setup: BrokerSetup = {
    storage: 'memory',
    durability: 'memory',
    transport: 'grpc',
    directory: options.directory,
    topic,
    retentionBytes: 2 * messagesMax * payloadBytes,
    verifyRecords,
  }
  return await drainFrom((await broker.ask('start', setup)) as string, options)
}

/** One group drains what is stored to warm up, the next one is measured. */
async function drainFrom(url: string | undefined, options: ScenarioOptions): Promise<QueueRate> {
  const messages = Math.min(options.messages, messagesMax)
  await using member = new BenchProcess('queue')
  await member.ask('start', { url, topic } satisfies QueueSetup)
  await member.ask('fill', { messages, payloadBytes, batchBytes: options.batchBytes } satisfies QueueFill)
  await member.ask('drain', { group: 'warm-up', messages } satisfies QueueDrain)
  const rate = (await member.ask('drain', { group: 'measured', messages } satisfies QueueDrain)) as QueueRate
  await member.ask('stop')
  return rate
}
