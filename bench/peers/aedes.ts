/** aedes with mqtt.js, quality of service 1: acknowledged when the broker has the message in memory. */
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { connectAsync } from 'mqtt'
import { InFlight } from '../../src/cli/bench/in-flight.ts'
import type { Delivery, Peer, PeerProducer, Take } from '../harness/peer.ts'
import { BenchProcess } from '../harness/process.ts'

/** MQTT numbers what is in flight with 16 bits. */
const inFlightMax = 2_000

async function open(address: string) {
  const client = await connectAsync(`mqtt://${address}`, {
    reconnectPeriod: 0,
  })
  // Left to itself the client delays every small packet.
  const { stream } = client
  ;(stream as Socket).setNoDelay(true)
  return client
}

async function producer(address: string, topic: string): Promise<PeerProducer> {
  const client = await open(address)
  const inFlight = new InFlight(inFlightMax)
  return {
    publish: (payload) => {
      inFlight.begun()
      client.publish(topic, payload as Buffer, { qos: 1 }, (error) => {
        if (error) throw error
        inFlight.done()
      })
    },
    ready: () => inFlight.ready(),
    flush: () => inFlight.flush(),
  }
}

async function consumer(address: string, topic: string, _delivery: Delivery, take: Take): Promise<void> {
  const client = await open(address)
  client.on('message', (_topic, payload) => take(payload))
  await client.subscribeAsync(topic, { qos: 1 })
}

async function installedVersion(): Promise<string> {
  const manifest = await readFile(new URL('package.json', import.meta.resolve('aedes')), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

export const aedes: Peer = {
  name: 'aedes',
  durability: 'memory',
  version: installedVersion,
  start: async () => {
    const broker = new BenchProcess('aedes')
    const address = (await broker.ask('start')) as string
    return {
      address,
      windowBegin: () => broker.windowBegin(),
      usage: () => broker.usage(),
      [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
    }
  },
  prepare: async () => {},
  producer,
  consumer,
}
