/** Takes single messages through any client, and checks each. */
import { serveMessageConsumer } from '../harness/consumer-role.ts'
import type { Delivery } from '../harness/peer.ts'
import { type ClientName, loadClient } from '../peers/index.ts'

export interface ReceiverSetup {
  readonly client: ClientName
  readonly address: string
  readonly topic: string
  readonly delivery: Delivery
  readonly payloadBytes: number
  readonly subscribers: number
  readonly everyTimed: boolean
}

serveMessageConsumer(async ({ client, address, topic, delivery }: ReceiverSetup, take) => {
  await (await loadClient(client)).consumer(address, topic, delivery, take)
  // What fails later ends the process: a peer's client has no other place to say so.
  return { failed: new Promise(() => {}) }
})
