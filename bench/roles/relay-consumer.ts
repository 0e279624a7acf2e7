/** Takes what the relay passes on as batches, and checks every message as the broker's consumer does. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { ClientBatch } from 'ratatoskr/client'
import { serveBatchConsumer } from '../harness/consumer-role.ts'
import { FrameReader } from '../harness/frames.ts'

export interface RelayConsumerSetup {
  readonly port: number
  readonly payloadBytes: number
  readonly subscribers: number
}

const expansion = { codecs: new Map(), bytesMax: 0 }

serveBatchConsumer(async ({ port }: RelayConsumerSetup, take) => {
  const reader = new FrameReader((bytes) => take(batchOf(bytes)))
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.on('data', (chunk: Buffer) => reader.feed(chunk))
  return { failed: once(socket, 'error').then(([error]) => error) }
})

/** The batch as the client hands it out. Its base offset is 0: nobody stamped it. */
const batchOf = (bytes: Uint8Array): ClientBatch =>
  new ClientBatch('', { partition: 0, bytes, fromOffset: 0, nextOffset: 0 }, expansion, Date, () => {})
