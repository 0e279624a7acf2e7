/**
 * RabbitMQ streams over AMQP, with publisher confirms. A stream is confirmed when the operating system has it. Its own stream
 * protocol would be faster, but the client for Node refuses the server that Debian has: it asks for the versions of commands,
 * which that server does not know.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'amqplib'
import { InFlight } from '../../src/cli/bench/in-flight.ts'
import type { Delivery, Peer, PeerProducer, PeerServer, Take } from '../harness/peer.ts'
import { freePort, ServerProcess, versionOf } from '../harness/server-process.ts'

/** A stream wants a prefetch count; higher ones made nothing faster. */
const prefetchMessages = 2_000
const inFlightMax = 2_000
const streamBytesMax = 512 * 1024 * 1024
const command = '/usr/lib/rabbitmq/bin/rabbitmq-server'

async function open(address: string) {
  return connect(`amqp://guest:guest@${address}`, { noDelay: true })
}

async function producer(address: string, topic: string): Promise<PeerProducer> {
  const channel = await (await open(address)).createConfirmChannel()
  const inFlight = new InFlight(inFlightMax)
  return {
    publish: (payload) => {
      inFlight.begun()
      const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
      channel.sendToQueue(topic, bytes, {}, (error) => {
        if (error) throw error
        inFlight.done()
      })
    },
    ready: () => inFlight.ready(),
    flush: () => inFlight.flush(),
  }
}

/** A stream wants every delivery acknowledged, for that is its credit, whatever the scenario asks for. */
async function consumer(address: string, topic: string, _delivery: Delivery, take: Take): Promise<void> {
  const channel = await (await open(address)).createChannel()
  await channel.prefetch(prefetchMessages)
  const deliver = (message: Parameters<Parameters<typeof channel.consume>[1]>[0]) => {
    if (message === null) throw new Error('RabbitMQ has ended the consumer')
    take(message.content)
    channel.ack(message)
  }
  await channel.consume(topic, deliver, { arguments: { 'x-stream-offset': 'first' } })
}

/** Everything that RabbitMQ, Erlang and its port mapper would put elsewhere is in this folder. */
async function start(directory: string): Promise<PeerServer> {
  const [port, nodePort, mapperPort] = [await freePort(), await freePort(), await freePort()]
  const config = join(directory, 'rabbitmq.conf')
  const plugins = join(directory, 'plugins')
  await mkdir(join(directory, 'home'))
  await writeFile(config, `listeners.tcp.1 = 127.0.0.1:${port}\n`)
  await writeFile(plugins, '[].')
  const mapper = await ServerProcess.start({
    command: 'epmd',
    args: ['-address', '127.0.0.1', '-port', String(mapperPort)],
    port: mapperPort,
    address: '',
  })
  const env = {
    HOME: join(directory, 'home'),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(mapperPort),
    RABBITMQ_DIST_PORT: String(nodePort),
    RABBITMQ_NODENAME: `bench-${port}@localhost`,
    RABBITMQ_CONFIG_FILE: config,
    RABBITMQ_MNESIA_BASE: join(directory, 'data'),
    RABBITMQ_LOG_BASE: join(directory, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
  }
  try {
    const server = await ServerProcess.start({ command, args: [], env, port, address: `127.0.0.1:${port}` })
    return withHelper(server, mapper)
  } catch (error) {
    await mapper[Symbol.asyncDispose]()
    throw error
  }
}

const withHelper = (server: PeerServer, helper: AsyncDisposable): PeerServer => ({
  address: server.address,
  windowBegin: () => server.windowBegin(),
  usage: () => server.usage(),
  [Symbol.asyncDispose]: async () => {
    await server[Symbol.asyncDispose]()
    await helper[Symbol.asyncDispose]()
  },
})

export const rabbitMq: Peer = {
  name: 'rabbitmq-stream',
  durability: 'os',
  version: () => versionOf('dpkg-query', ['-W', '-f=$' + '{Version}', 'rabbitmq-server'], /^(\d+\.\d+\.\d+)/),
  start,
  prepare: async (address, topics) => {
    const connection = await open(address)
    const channel = await connection.createChannel()
    const settings = { 'x-queue-type': 'stream', 'x-max-length-bytes': streamBytesMax }
    for (const topic of topics) await channel.assertQueue(topic, { durable: true, arguments: settings })
    await connection.close()
  },
  clear: async (address, topics) => {
    const connection = await open(address)
    const channel = await connection.createChannel()
    for (const topic of topics) await channel.deleteQueue(topic)
    await connection.close()
  },
  producer,
  consumer,
}
