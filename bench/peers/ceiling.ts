/** Single messages through the bare relay: what is published in one turn of the event loop goes out in one write. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { FrameReader, prefixBytes } from '../harness/frames.ts'
import type { PeerClient } from '../harness/peer.ts'
import type { RelayAddresses } from '../roles/relay.ts'

const bufferedBytesMax = 1024 * 1024

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

const portsOf = (address: string, topic: string) => (JSON.parse(address) as RelayAddresses)[topic]

export const ceiling: PeerClient = {
  prepare: async () => {},
  producer: async (address, topic) => {
    const socket = await open(portsOf(address, topic).producerPort)
    let corked = false
    return {
      publish: (payload) => {
        if (!corked) {
          corked = true
          socket.cork()
          queueMicrotask(() => {
            corked = false
            socket.uncork()
          })
        }
        const frame = Buffer.allocUnsafe(prefixBytes + payload.length)
        frame.writeUInt32BE(payload.length)
        frame.set(payload, prefixBytes)
        socket.write(frame)
      },
      ready: () => (socket.writableLength < bufferedBytesMax ? undefined : once(socket, 'drain')),
      flush: async () => {
        if (socket.writableNeedDrain) await once(socket, 'drain')
      },
    }
  },
  consumer: async (address, topic, _delivery, take) => {
    const reader = new FrameReader(take)
    const socket = await open(portsOf(address, topic).consumerPort)
    socket.on('data', (chunk: Buffer) => reader.feed(chunk))
  },
}
