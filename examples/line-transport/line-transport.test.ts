import { connect } from 'node:net'
import { transportContract } from 'ratatoskr/contract-tests'
import type { BoundAddress } from 'ratatoskr/ports'
import { lineProbe } from './line-probe.ts'
import { lineTransport } from './line-transport.ts'

const send = ({ host, port }: BoundAddress, bytes: string | Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect({ host, port }, () => socket.end(bytes))
    socket
      .on('error', () => resolve())
      .on('close', () => resolve())
      .resume()
  })

transportContract('an example: JSON lines over TCP', async () => ({
  make: lineTransport,
  connect: lineProbe,
  async sendGarbage(address) {
    await send(address, 'garbage\n')
    await send(address, Uint8Array.of(0, 255, 10, 10))
    await send(address, '{"op":"publish"')
    await send(address, `${'['.repeat(100_000)}\n`)
    await send(
      address,
      '{"op":"no such thing","id":1}\n{"op":"publish","id":2,"topic":"orders","message":{}}\n',
    )
    await send(address, 'x'.repeat(30 * 1024 * 1024))
  },
}))
