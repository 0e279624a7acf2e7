/** Fills a topic of a peer, and drains it with a consumer that acknowledges every message by itself. */

import { type Findings, MessageChecker, MessageMaker } from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'
import { loadPeer, type PeerName } from '../peers/index.ts'

export interface QueuePeerLoad {
  readonly peer: PeerName
  readonly address: string
  readonly topic: string
  readonly messages: number
  readonly payloadBytes: number
}

export interface QueuePeerRate {
  readonly messagesPerSecond: number
  readonly findings: Findings
}

/** Publishes between two looks at whether there is room. */
const burst = 64
const pollMs = 2

serveRole({
  fill: async ({ peer, address, topic, messages, payloadBytes }: QueuePeerLoad): Promise<void> => {
    const producer = await (await loadPeer(peer)).producer(address, topic)
    const maker = new MessageMaker(payloadBytes)
    while (maker.count < messages) {
      const room = producer.ready()
      if (room !== undefined) await room
      for (let i = 0; i < burst && maker.count < messages; i++) producer.publish(maker.copyOfNext())
    }
    await producer.flush()
  },
  /** From joining until the server has every acknowledgement. */
  drain: async ({ peer, address, topic, messages, payloadBytes }: QueuePeerLoad): Promise<QueuePeerRate> => {
    const { consumer, unsettled } = await loadPeer(peer)
    if (unsettled === undefined) throw new Error(`${peer} has no consumers that acknowledge each message`)
    const checker = new MessageChecker(payloadBytes)
    const all = Promise.withResolvers<void>()
    const beginMs = performance.now()
    await consumer(address, topic, 'acked', (payload) => {
      checker.take(payload)
      if (checker.received === messages) all.resolve()
    })
    await all.promise
    while ((await unsettled(address, topic)) > 0) await new Promise((resolve) => setTimeout(resolve, pollMs))
    const seconds = (performance.now() - beginMs) / 1_000
    return { messagesPerSecond: messages / seconds, findings: checker.findings(messages) }
  },
})
