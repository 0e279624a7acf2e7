/**
 * Redis Streams, in memory or with an append-only file: `everysec` acknowledges what is in memory and synced within a second,
 * `always` what is synced. The client joins the commands of one turn into one write, and the server syncs once for all that it read.
 */
import { createClient, RESP_TYPES } from '@redis/client'
import { InFlight } from '../../src/cli/bench/in-flight.ts'
import type { Delivery, Peer, PeerProducer, Take } from '../harness/peer.ts'
import { freePort, ServerProcess, versionOf } from '../harness/server-process.ts'

/** As many as one turn of the server takes with profit: more only wait. */
const inFlightMax = 4_000
/** Entries kept, about: more than any consumer lags, so that the stream does not grow for ever. */
const entriesMax = '1000000'
const entriesPerRead = '1000'
const group = 'bench'

type Entry = readonly [id: Buffer, fields: readonly Buffer[]]
type Entries = readonly (readonly [stream: Buffer, entries: readonly Entry[]])[] | null

async function open(address: string) {
  const client = createClient({
    url: `redis://${address}`,
    RESP: 2,
    commandOptions: { timeout: undefined },
    socket: { reconnectStrategy: false },
  }).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  client.on('error', (error: Error) => {
    throw error
  })
  await client.connect()
  return client
}

type Client = Awaited<ReturnType<typeof open>>

async function producer(address: string, topic: string): Promise<PeerProducer> {
  const client = await open(address)
  const inFlight = new InFlight(inFlightMax)
  return {
    publish: (payload) => {
      const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
      inFlight.add(client.sendCommand(['XADD', topic, 'MAXLEN', '~', entriesMax, '*', 'p', bytes]))
    },
    ready: () => inFlight.ready(),
    flush: () => inFlight.flush(),
  }
}

async function consumer(address: string, topic: string, delivery: Delivery, take: Take): Promise<void> {
  const reads = await open(address)
  if (delivery === 'stream') {
    void readStream(reads, topic, take)
    return
  }
  // A blocking read holds its connection: acknowledgements have another.
  const acks = await open(address)
  await acks.sendCommand(['XGROUP', 'CREATE', topic, group, '0', 'MKSTREAM'])
  void readGroup(reads, acks, topic, take)
}

async function readStream(client: Client, topic: string, take: Take): Promise<void> {
  let last: string | Buffer = '0'
  for (;;) {
    const options: readonly (string | Buffer)[] = [
      'COUNT',
      entriesPerRead,
      'BLOCK',
      '1000',
      'STREAMS',
      topic,
      last,
    ]
    const found: Entries = await client.sendCommand<Entries>(['XREAD', ...options])
    if (found === null) continue
    const [[, entries]] = found
    for (const [, [, payload]] of entries) take(payload)
    last = entries[entries.length - 1][0]
  }
}

async function readGroup(client: Client, acks: Client, topic: string, take: Take): Promise<void> {
  const options = ['GROUP', group, 'one', 'COUNT', entriesPerRead, 'BLOCK', '1000', 'STREAMS', topic, '>']
  for (;;) {
    const found = await client.sendCommand<Entries>(['XREADGROUP', ...options])
    if (found === null) continue
    const [[, entries]] = found
    for (const [, [, payload]] of entries) take(payload)
    // One command for all that were read at once: each is acknowledged by its own id all the same.
    void acks.sendCommand(['XACK', topic, group, ...entries.map(([id]) => id)])
  }
}

/** Taken and not acknowledged: what is not taken yet, this server does not say. */
async function unsettled(address: string, topic: string): Promise<number> {
  const client = await open(address)
  const [pending] = await client.sendCommand<readonly [number]>(['XPENDING', topic, group])
  await client.close()
  return pending
}

function redisPeer(name: string, durability: string, persistence: readonly string[]): Peer {
  return {
    name,
    durability,
    unsettled,
    version: () => versionOf('redis-server', ['--version'], /v=(\d+\.\d+\.\d+)/),
    start: async (directory) => {
      const port = await freePort()
      const address = `127.0.0.1:${port}`
      const settings = ['--bind', '127.0.0.1', '--dir', directory, '--save', '']
      const args = ['--port', String(port), ...settings, ...persistence]
      return ServerProcess.start({ command: 'redis-server', args, port, address })
    },
    prepare: async () => {},
    producer,
    consumer,
  }
}

/** The file is not rewritten while it is measured: that would take a processor for a while, by chance in one run and not in another. */
const appendOnly = ['--appendonly', 'yes', '--auto-aof-rewrite-percentage', '0', '--appendfsync']

export const redisMemory = redisPeer('redis-memory', 'memory', ['--appendonly', 'no'])
export const redisEverySecond = redisPeer('redis-everysec', 'fsync every second', [...appendOnly, 'everysec'])
export const redisAlways = redisPeer('redis-always', 'fsync', [...appendOnly, 'always'])
