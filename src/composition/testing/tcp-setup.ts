/** The TCP transport as the transport contract wants it. */
import { connect, type Socket } from 'node:net'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { probeOfLink, type TransportSetup } from 'ratatoskr/contract-tests'
import { type BoundAddress, encodeOpening } from 'ratatoskr/ports'
import { openTcpLink } from '../../client/links/tcp.ts'

const platform = nodePlatform({ logger: silentLogger })

async function probe({ url }: BoundAddress, token?: string) {
  const link = await openTcpLink(new URL(url), {
    credentials: token === undefined ? { kind: 'none' } : { kind: 'bearer', token },
    platform,
    frameBytesMax: 64 * 1024 * 1024,
  })
  return probeOfLink({ link, platform })
}

const socketTo = ({ host, port }: BoundAddress): Socket =>
  port === 0 ? connect({ path: host }) : connect({ host, port })

const framed = (...bytes: readonly number[]): Uint8Array =>
  Buffer.concat([encodeOpening(1_000_000), Uint8Array.of(0, 0, 0, bytes.length, ...bytes)])

async function sendGarbage(address: BoundAddress): Promise<void> {
  const sent: readonly Uint8Array[] = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc), // the beginning of a TLS handshake
    Uint8Array.from({ length: 70_000 }, (_, i) => (i * 7) & 0xff),
    encodeOpening(0).subarray(0, 7), // an end within the opening
    Buffer.concat([encodeOpening(100), Uint8Array.of(0xff, 0xff, 0xff, 0xff)]), // 4 GiB to come
    framed(1, 2, 3), // a torn binary frame
    framed(0x7b, 0x7b, 0x7b), // text that is no JSON
    framed(0x7b, 0xff, 0x7d), // text that is no UTF-8
    Buffer.concat([encodeOpening(100), Uint8Array.of(0, 0, 0, 9, 1)]), // an end within a frame
  ]
  for (const bytes of sent) {
    const socket = socketTo(address)
    socket.on('error', () => {}).resume()
    socket.end(bytes)
    await new Promise((resolve) => socket.once('close', resolve))
  }
}

export const tcpSetup: TransportSetup = {
  make: ({ host, port, insecure }) => tcpTransport({ host, port, insecure }),
  connect: probe,
  sendGarbage,
}
