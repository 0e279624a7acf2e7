/**
 * NATS JetStream, one replica. What it acknowledges is in memory, or in files that are synced every two minutes: the version
 * that Debian has cannot be told otherwise.
 *
 * `jetstream-file` publishes as the client's documentation says, many at a time. `-tuned` does without that call: it
 * publishes with a reply subject of its own and counts the replies, which is several times faster.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream'
import { createInbox, type NatsConnection } from '@nats-io/transport-node'
import { InFlight } from '../../src/cli/bench/in-flight.ts'
import type { Peer, PeerClient, PeerProducer } from '../harness/peer.ts'
import { natsConnect, natsVersion, startNats } from './nats.ts'

/** More in flight made nothing faster; the client's documentation says to bound it. */
const inFlightMax = 4_000
/** Messages asked for at a time: with fewer the consumer waits for each refill. */
const pullMessages = 10_000
const streamBytesMax = 512 * 1024 * 1024
const nanosecondsPerSecond = 1e9
const consumerName = 'bench'

async function documentedProducer(address: string, topic: string): Promise<PeerProducer> {
  const client = jetstream(await natsConnect(address), { timeout: 30_000 })
  const inFlight = new InFlight(inFlightMax)
  return {
    publish: (payload) => inFlight.add(client.publish(topic, payload)),
    ready: () => inFlight.ready(),
    flush: () => inFlight.flush(),
  }
}

async function tunedProducer(address: string, topic: string): Promise<PeerProducer> {
  const connection: NatsConnection = await natsConnect(address)
  const inFlight = new InFlight(inFlightMax)
  const inbox = createInbox()
  connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null) throw error
      const text = message.string()
      if (text.includes('"error"')) throw new Error(`JetStream refused a message: ${text}`)
      inFlight.done()
    },
  })
  await connection.flush()
  return {
    publish: (payload) => {
      inFlight.begun()
      connection.publish(topic, payload, { reply: inbox })
    },
    ready: () => inFlight.ready(),
    flush: () => inFlight.flush(),
  }
}

function jetStreamPeer(
  name: string,
  storage: StorageType,
  durability: string,
  producer: PeerClient['producer'],
): Peer {
  return {
    name,
    durability,
    version: natsVersion,
    start: async (directory) => {
      const folder = join(directory, 'jetstream')
      await mkdir(folder)
      return startNats(directory, folder)
    },
    prepare: async (address, topics) => {
      const connection = await natsConnect(address)
      const manager = await jetstreamManager(connection)
      for (const topic of topics) {
        await manager.streams.add({
          name: topic,
          subjects: [topic],
          storage,
          retention: RetentionPolicy.Limits,
          discard: DiscardPolicy.Old,
          max_bytes: streamBytesMax,
          num_replicas: 1,
        })
      }
      await connection.close()
    },
    producer,
    unsettled: async (address, topic) => {
      const connection = await natsConnect(address)
      const manager = await jetstreamManager(connection)
      const { num_pending, num_ack_pending } = await manager.consumers.info(topic, consumerName)
      await connection.close()
      return num_pending + num_ack_pending
    },
    consumer: async (address, topic, delivery, take) => {
      const connection = await natsConnect(address)
      const manager = await jetstreamManager(connection)
      const { name: consumer } = await manager.consumers.add(topic, {
        durable_name: consumerName,
        ack_policy: delivery === 'acked' ? AckPolicy.Explicit : AckPolicy.None,
        deliver_policy: DeliverPolicy.All,
        max_ack_pending: delivery === 'acked' ? 2 * pullMessages : -1,
        ack_wait: 60 * nanosecondsPerSecond,
      })
      const pulled = await jetstream(connection).consumers.get(topic, consumer)
      await pulled.consume({
        max_messages: pullMessages,
        callback: (message) => {
          take(message.data)
          if (delivery === 'acked') message.ack()
        },
      })
    },
  }
}

export const jetStreamFile = jetStreamPeer('jetstream-file', StorageType.File, 'os', documentedProducer)
export const jetStreamFileTuned = jetStreamPeer('jetstream-file-tuned', StorageType.File, 'os', tunedProducer)
export const jetStreamMemory = jetStreamPeer(
  'jetstream-memory',
  StorageType.Memory,
  'memory',
  documentedProducer,
)
export const jetStreamMemoryTuned = jetStreamPeer(
  'jetstream-memory-tuned',
  StorageType.Memory,
  'memory',
  tunedProducer,
)
