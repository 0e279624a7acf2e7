/** Cuts what the relay passes on into batches, and checks every message as the broker's consumer does. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { ClientBatch } from 'ratatoskr/client'
import { serveConsumer } from '../harness/consumer-role.ts'

export interface RelayConsumerSetup {
  readonly port: number
  readonly payloadBytes: number
}

const expansion = { codecs: new Map(), bytesMax: 0 }

serveConsumer(async ({ port }: RelayConsumerSetup, take) => {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return { done: readAll(socket, take) }
})

async function readAll(socket: Socket, take: (batch: ClientBatch) => void): Promise<void> {
  const prefix = Buffer.alloc(4)
  let prefixBytes = 0
  let batch: Buffer | undefined
  let filled = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; ) {
      if (batch === undefined) {
        prefix[prefixBytes++] = chunk[at++]
        if (prefixBytes < prefix.length) continue
        prefixBytes = 0
        batch = Buffer.allocUnsafe(prefix.readUInt32BE())
        filled = 0
        continue
      }
      const part = chunk.subarray(at, at + batch.length - filled)
      batch.set(part, filled)
      filled += part.length
      at += part.length
      if (filled < batch.length) continue
      take(batchOf(batch))
      batch = undefined
    }
  }
}

/** The batch as the client hands it out. Its base offset is 0: nobody stamped it. */
const batchOf = (bytes: Uint8Array): ClientBatch =>
  new ClientBatch('', { partition: 0, bytes, fromOffset: 0, nextOffset: 0 }, expansion, Date, () => {})
