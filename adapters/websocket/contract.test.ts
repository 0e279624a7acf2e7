/** The transport contract, over both subprotocols. */
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { probeOfLink, type TransportMakeOptions, transportContract } from 'ratatoskr/contract-tests'
import { type BoundAddress, binarySubprotocol, jsonSubprotocol } from 'ratatoskr/ports'
import { openWebSocketLink } from '../../src/client/links/websocket-node.ts'
import { webSocketTransport } from './index.ts'
import { jsonProbe } from './testing/json-probe.ts'
import { bareHandshake } from './testing/raw-client.ts'

const platform = nodePlatform({ logger: silentLogger })
const make = ({ host, port, insecure }: TransportMakeOptions) => webSocketTransport({ host, port, insecure })

const linkTo = ({ url }: BoundAddress, token: string | undefined) =>
  openWebSocketLink(new URL(url), {
    credentials: token === undefined ? { kind: 'none' } : { kind: 'bearer', token },
    platform,
    frameBytesMax: 64 * 1024 * 1024,
  })

async function sendGarbage({ port }: BoundAddress): Promise<void> {
  const frames: readonly (readonly number[])[] = [
    [0x81, 0x83, 0, 0, 0, 0, 0x7b, 0x7b, 0x7b], // text that is no JSON
    [0x82, 0x83, 0, 0, 0, 0, 1, 2, 3], // a torn binary frame
    [0x81, 0x03, 0x7b, 0x7d, 0x20], // not masked
    [0xf1, 0x80, 0, 0, 0, 0], // reserved bits
    [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], // 2^63 bytes to come
    [0x81, 0xfe], // an end within the header
  ]
  for (const protocol of [jsonSubprotocol, binarySubprotocol]) {
    for (const frame of frames) {
      const { socket } = await bareHandshake(port, { 'sec-websocket-protocol': protocol })
      socket.on('error', () => {}).resume()
      socket.end(Uint8Array.from(frame))
      await new Promise((resolve) => socket.once('close', resolve))
    }
  }
}

transportContract('WebSocket +binary', async () => ({
  make,
  connect: async (address, token) => probeOfLink({ link: await linkTo(address, token), platform }),
  sendGarbage,
}))

transportContract('WebSocket +json', async () => ({
  make,
  async connect(address, token) {
    const link = await linkTo(address, token)
    const probe = await jsonProbe({
      url: address.url,
      token,
      publishBatch: async (topic, partition, batch, lease) =>
        link.publishBatch(topic, partition, batch, { lease }),
    })
    return {
      ...probe,
      async close() {
        await Promise.all([probe.close(), link.close()])
      },
    }
  },
  sendGarbage,
}))
