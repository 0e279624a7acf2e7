/** Ourselves, driven as the peers are: one message at a time, through the public client. */
import { connect, type Subscription } from 'ratatoskr/client'
import { InFlight } from '../../src/cli/bench/in-flight.ts'
import type { PeerClient, Take } from '../harness/peer.ts'

/**
 * Single publishes that wait for their acknowledgement: enough for several full batches. One of so many is awaited, for the
 * promises of the others settle with it; the refusal of one that nobody awaits ends the process.
 */
const inFlightMax = 16_384
const publishesPerLook = 256
const ackedInFlightMax = 10_000

async function iterate(messages: Subscription, take: Take): Promise<void> {
  for await (const { payload } of messages) take(payload)
}

export const ratatoskr: PeerClient = {
  prepare: async (address, topics) => {
    await using client = await connect(address)
    for (const topic of topics) await client.createTopic(topic)
  },
  producer: async (address, topic) => {
    const client = await connect(address)
    const producer = client.producer({ waitingMax: inFlightMax })
    const inFlight = new InFlight(inFlightMax / publishesPerLook)
    let published = 0
    return {
      publish: (payload) => {
        const stored = producer.publish(topic, payload)
        if (++published % publishesPerLook === 0) inFlight.add(stored)
      },
      ready: () => inFlight.ready(),
      flush: () => producer.flush(),
    }
  },
  consumer: async (address, topic, delivery, take) => {
    const client = await connect(address)
    if (delivery === 'stream') {
      void iterate(await client.subscribe(topic, { from: 'earliest' }), take)
      return
    }
    const options = {
      group: 'bench',
      sharing: 'shared',
      ack: 'manual',
      maxInFlight: ackedInFlightMax,
    } as const
    await client.subscribe(
      topic,
      (message) => {
        take(message.payload)
        void message.ack()
      },
      options,
    )
  },
}
