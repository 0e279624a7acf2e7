/**
 * No turn of the broker's event loop works for longer than 50 ms: while it does, nobody is answered, no lease is extended, and no
 * connection is accepted. The broker has a process of its own here, so that what is measured is its code alone.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { type Client, connect } from 'ratatoskr/client'
import { BatchBuilder, utf8 } from 'ratatoskr/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'
import type { TurnReport } from '../../contract-tests/batteries/harness/turn-watch.ts'

const cpuMsMax = 50
const watch = fileURLToPath(new URL('../../contract-tests/batteries/harness/turn-watch.ts', import.meta.url))

/** The longest turn since the last time this was asked. */
async function turnsOf(server: ServerProcess): Promise<TurnReport> {
  const told = server.lines.length
  server.child.kill('SIGUSR2')
  let line: string | undefined
  await expect
    .poll(() => (line = server.lines.slice(told).find((one) => one.includes('"turnReport"'))))
    .toBeDefined()
  return (JSON.parse(line as string) as { turnReport: TurnReport }).turnReport
}

const { checksum } = nodePlatform()

/** A batch of so many bytes. */
function batchOf(bytes: number, payloadBytes: number): Uint8Array {
  const builder = new BatchBuilder({ checksum })
  const payload = new Uint8Array(payloadBytes).fill(7)
  for (let size = 0; size < bytes; size += payloadBytes + 16)
    builder.add({ payload, timestampMs: Date.now() })
  return builder.build()
}

const times = async (count: number, run: (i: number) => Promise<unknown>): Promise<void> => {
  await Promise.all(Array.from({ length: count }, (_, i) => run(i)))
}

type Load = (clients: Readonly<Record<string, Client>>, topic: string) => Promise<unknown>

const schemes = ['grpc', 'ws', 'http', 'tcp'] as const
const small = batchOf(1_000_000, 100)

/** What asks most of a broker, each several times at once. */
const loads: readonly (readonly [name: string, load: Load])[] = [
  ...schemes.map(
    (scheme) =>
      [
        `batches of 1 MB of small messages, over ${scheme}`,
        (clients, topic) => times(8, () => clients[scheme].publishBatch(topic, 0, small.slice())),
      ] as const satisfies readonly [string, Load],
  ),
  ...schemes.map(
    (scheme) =>
      [
        `many messages a call, and reading them, over ${scheme}`,
        async (clients, topic) => {
          const client = clients[scheme]
          const messages = Array.from({ length: 1_000 }, (_, i) => ({
            payload: utf8(`message ${i}`),
            key: `${i % 7}`,
          }))
          await times(8, () => client.publishMany(topic, messages))
          await times(8, () => client.fetch(topic, { offset: 'earliest', max: 1_000 }))
        },
      ] as const satisfies readonly [string, Load],
  ),
  [
    'subscribers that all want the whole topic at once',
    async (clients, topic) => {
      await clients.tcp.publishBatch(topic, 0, small.slice())
      await times(20, async (i) => {
        const subscription = await clients[schemes[i % 4]].batches(topic, { from: 'earliest' })
        for await (const batch of subscription) if (batch.nextOffset > 0) break
      })
    },
  ],
  [
    'a queue group with thousands of leases',
    async (clients, topic) => {
      await clients.tcp.publishBatch(topic, 0, small.slice())
      await clients.grpc.createQueue(topic, 'queue', { sharing: 'shared' }, { from: 'earliest' })
      const { batches } = await clients.grpc.take(topic, 'queue', { member: 'm', messagesMax: 5_000 })
      const settlements = batches.flatMap(({ partition, lease, firstOffset, lastOffset }) =>
        Array.from({ length: lastOffset + 1 - firstOffset }, (_, i) => {
          const from = firstOffset + i
          return {
            partition,
            lease,
            from,
            to: from + 1,
            action: i % 2 === 0 ? ('ack' as const) : ('nack' as const),
          }
        }),
      )
      for (let from = 0; from < settlements.length; from += 1_000) {
        await clients.grpc.settle(topic, 'queue', settlements.slice(from, from + 1_000), { member: 'm' })
      }
    },
  ],
  [
    'topics that are made and deleted',
    async (clients, topic) => {
      await times(50, (i) => clients[schemes[i % 4]].createTopic(`${topic}-${i}`, { partitions: 4 }))
      await clients.http.listTopics()
      await times(50, (i) => clients[schemes[i % 4]].deleteTopic(`${topic}-${i}`))
    },
  ],
]

describe.each(['memory', 'disk'])('a broker with its data in %s', (storage) => {
  let directory: string
  let server: ServerProcess
  const clients: Record<string, Client> = {}
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-turns-'))
    const args = ['--storage', storage]
    server = await ServerProcess.start({ directory, args, nodeArgs: ['--import', watch] })
    for (const scheme of schemes) clients[scheme] = await connect(server.urls[scheme], { timeoutMs: 60_000 })
  })
  afterAll(async () => {
    await Promise.all(Object.values(clients).map((client) => client.close()))
    await server.crash()
    await rm(directory, { recursive: true, force: true })
  })

  it.each(loads)('%s', async (name, load) => {
    // What is asked for the first time is loaded and compiled then, which takes long and comes once.
    for (const round of ['first', 'second']) {
      const topic = `${round}-${loads.findIndex(([one]) => one === name)}`
      await clients.tcp.createTopic(topic)
      await load(clients, topic)
      await clients.tcp.deleteTopic(topic)
    }
    await turnsOf(server)
    await clients.tcp.createTopic('watched')
    await load(clients, 'watched')
    await clients.tcp.deleteTopic('watched')
    const { longestCpuMs, turns } = await turnsOf(server)
    expect(turns).toBeGreaterThan(0)
    expect(longestCpuMs).toBeLessThan(cpuMsMax)
  })
})

describe('the watch', () => {
  /** A process that blocks its event loop at SIGUSR1, and tells when it has. */
  const blocking = (how: string): string =>
    `data:text/javascript,${encodeURIComponent(`process.on('SIGHUP', () => { ${how}; process.stderr.write('blocked\\n') })`)}`

  async function longestOf(how: string): Promise<TurnReport> {
    const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-turns-'))
    const nodeArgs = ['--import', watch, '--import', blocking(how)]
    const server = await ServerProcess.start({ directory, args: ['--storage', 'memory'], nodeArgs })
    try {
      await turnsOf(server)
      server.child.kill('SIGHUP')
      await expect.poll(() => server.lines).toContain('blocked')
      return await turnsOf(server)
    } finally {
      await server.crash()
      await rm(directory, { recursive: true, force: true })
    }
  }

  it('sees a turn that works for too long', async () => {
    const busy = 'const from = process.threadCpuUsage(); while (process.threadCpuUsage(from).user < 80_000);'
    expect((await longestOf(busy)).longestCpuMs).toBeGreaterThan(cpuMsMax)
  })

  it('takes no wait for the processor, or for anything else, for work', async () => {
    const asleep = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)'
    expect((await longestOf(asleep)).longestCpuMs).toBeLessThan(cpuMsMax)
  })
})
