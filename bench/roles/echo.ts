/** Publishes back whatever comes, through any client. */
import { serveRole } from '../harness/child.ts'
import { type ClientName, loadClient } from '../peers/index.ts'

export interface EchoSetup {
  readonly client: ClientName
  readonly address: string
  readonly from: string
  readonly to: string
}

serveRole({
  start: async ({ client, address, from, to }: EchoSetup) => {
    const peer = await loadClient(client)
    const producer = await peer.producer(address, to)
    // The bytes may lie in what the client received, and go out later: they are copied.
    await peer.consumer(address, from, 'stream', (payload) => producer.publish(payload.slice()))
  },
})
