/** NATS core: at most once, nothing kept, nothing acknowledged. Its client joins what is published in one turn into one write. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { Peer, PeerProducer, PeerServer } from '../harness/peer.ts'
import { freePort, ServerProcess, versionOf } from '../harness/server-process.ts'

export const natsVersion = (): Promise<string | undefined> =>
  versionOf('nats-server', ['--version'], /v?(\d+\.\d+\.\d+)/)

/** @param jetStream the streams' folder; without one there are no streams */
export async function startNats(directory: string, jetStream?: string): Promise<PeerServer> {
  const port = await freePort()
  const config = join(directory, 'nats.conf')
  const lines = [
    'host: "127.0.0.1"',
    `port: ${port}`,
    // A consumer that is slow for a moment is waited for, not cut off.
    'max_pending: 256MB',
    'write_deadline: "30s"',
    jetStream === undefined ? '' : `jetstream { store_dir: "${jetStream}", max_mem: 2GB, max_file: 16GB }`,
  ]
  await writeFile(config, lines.join('\n'))
  const address = `127.0.0.1:${port}`
  return ServerProcess.start({ command: 'nats-server', args: ['-c', config], port, address })
}

/** `noAsyncTraces` is what the client's manual says to set for publishers of JetStream: errors then do not tell where they began. */
export const natsConnect = (address: string): Promise<NatsConnection> =>
  connect({ servers: address, reconnect: false, noAsyncTraces: true })

/** Messages between two round trips to the server, and how many of those may be under way: what bounds the client's buffer. */
const messagesPerFlush = 500
const flushesMax = 8

class CoreProducer implements PeerProducer {
  readonly #connection: NatsConnection
  readonly #topic: string
  #published = 0
  #flushes: Promise<void>[] = []

  constructor(connection: NatsConnection, topic: string) {
    this.#connection = connection
    this.#topic = topic
  }

  publish(payload: Uint8Array): void {
    this.#connection.publish(this.#topic, payload)
    if (++this.#published % messagesPerFlush === 0) this.#flushes.push(this.#connection.flush())
  }

  ready(): Promise<void> | undefined {
    return this.#flushes.length < flushesMax ? undefined : this.#flushes.shift()
  }

  flush(): Promise<void> {
    return this.#connection.flush()
  }
}

export const natsCore: Peer = {
  name: 'nats-core',
  durability: 'none',
  version: natsVersion,
  start: (directory) => startNats(directory),
  prepare: async () => {},
  producer: async (address, topic) => new CoreProducer(await natsConnect(address), topic),
  consumer: async (address, topic, _delivery, take) => {
    const connection = await natsConnect(address)
    connection.subscribe(topic, {
      callback: (error, message) => {
        if (error !== null) throw error
        take(message.data)
      },
    })
    await connection.flush()
  },
}
