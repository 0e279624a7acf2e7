/** A broker in memory with this transport on a free port, for tests; everything it opened ends with the test. */
import type { BrokerOptions, EmbeddedBroker } from 'ratatoskr'
import type { Limits, Platform, Transport } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { onTestFinished } from 'vitest'
import type { ClientOptions } from 'ws'
import { type WebSocketTransportOptions, webSocketTransport } from '../index.ts'
import { RawClient } from './raw-client.ts'

export interface RigOptions {
  readonly transport?: WebSocketTransportOptions
  readonly limits?: Partial<Limits>
  readonly platform?: Partial<Platform>
  readonly security?: BrokerOptions['security']
}

export interface Rig {
  readonly broker: EmbeddedBroker
  readonly transport: Transport
  readonly url: string
  readonly port: number
  client(protocol?: string, options?: ClientOptions): Promise<RawClient>
}

export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const transport = webSocketTransport({ port: 0, ...options.transport })
  const { limits = {}, platform = {}, security } = options
  const broker = await startTestBroker({ transports: [transport], limits, platform, security })
  onTestFinished(() => broker.stop())
  const { url, port } = transport.address ?? { url: '', port: 0 }
  return {
    broker,
    transport,
    url,
    port,
    async client(protocol, clientOptions) {
      const client = await RawClient.open(url, protocol, clientOptions)
      onTestFinished(() => client.ws.terminate())
      return client
    },
  }
}
