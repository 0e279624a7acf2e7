/** The transport contract over the gRPC link. */
import { once } from 'node:events'
import net from 'node:net'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { nodePlatform } from 'ratatoskr/adapters/node'
import type { BoundAddress } from 'ratatoskr/ports'
import { transportContract } from '../../contract-tests/transport/index.ts'
import { probeOfLink } from '../../contract-tests/transport/link-probe.ts'
import { openGrpcLink } from '../../src/client/links/grpc.ts'

const platform = nodePlatform()

transportContract('gRPC', async () => ({
  make: (options) => grpcTransport(options),
  async connect(address: BoundAddress, token?: string) {
    const credentials =
      token === undefined ? ({ kind: 'none' } as const) : ({ kind: 'bearer', token } as const)
    const link = await openGrpcLink(new URL(address.url), {
      credentials,
      platform,
      frameBytesMax: 16 * 1024 * 1024,
    })
    return probeOfLink({ link, platform })
  },
  async sendGarbage({ port }: BoundAddress) {
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    for (const bytes of [
      `${preface}\0\0\0`,
      'GET / HTTP/1.1\r\n\r\n',
      platform.random.fill(new Uint8Array(4_096)),
    ]) {
      const socket = net.connect(port, '127.0.0.1')
      socket.on('error', () => undefined).resume()
      socket.end(bytes)
      await once(socket, 'close')
    }
  },
}))
