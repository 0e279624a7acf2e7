/** What runs over every link: a broker with one transport, or none, and a client of it. */
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { startTestBroker } from '../../../contract-tests/testing/start-test-broker.ts'
import type { EmbeddedBroker } from '../../composition/embedded-broker.ts'
import { BatchBuilder, portableCrc32c, type Transport, utf8 } from '../../ports/index.ts'
import type { Client } from '../client.ts'
import type { ClientMessage } from '../client-message.ts'
import { connect } from '../connect.ts'
import type { Subscription } from '../subscription.ts'

interface Setup {
  readonly transports: () => readonly Transport[]
  readonly client: (broker: EmbeddedBroker) => Promise<Client>
}

const remote = (transport: () => Transport): Setup => ({
  transports: () => [transport()],
  client: (broker) => connect(broker.addresses[0].url, { platform: broker.platform }),
})

export const links: readonly (readonly [name: string, setup: Setup])[] = [
  ['embedded', { transports: () => [], client: (broker) => broker.client() }],
  ['gRPC', remote(() => grpcTransport({ port: 0 }))],
  ['WebSocket', remote(() => webSocketTransport({ port: 0 }))],
  ['HTTP', remote(() => httpTransport({ port: 0 }))],
  ['TCP', remote(() => tcpTransport({ port: 0 }))],
]

/** A broker in memory that is started. */
export const startBroker = (transports: readonly Transport[]): Promise<EmbeddedBroker> =>
  startTestBroker({ transports })

/** Takes that many messages, or fails with the test's own timeout. */
export async function take(subscription: Subscription, count: number): Promise<ClientMessage[]> {
  const messages: ClientMessage[] = []
  const iterator = subscription[Symbol.asyncIterator]()
  while (messages.length < count) {
    const { value, done } = await iterator.next()
    if (done === true) break
    messages.push(value)
  }
  return messages
}

export const textsOf = (messages: readonly ClientMessage[]): string[] =>
  messages.map((message) => message.text())
export const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

export function batchOf(...texts: string[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}
