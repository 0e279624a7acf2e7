/** Encodes the same messages into the same batches as the client does, and writes them to the relay, length first. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { BatchBuilder, batchesPerProducerMax } from 'ratatoskr/ports'
import { MessageMaker } from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'

export interface RelayProducerSetup {
  readonly port: number
  readonly payloadBytes: number
  readonly batchBytes: number
}

let stopped = false
let running: Promise<number> | undefined

serveRole({
  start: async ({ port, ...setup }: RelayProducerSetup) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    running = produce(socket, setup)
    running.catch(() => {}) // told to whoever asks for the result
  },
  stop: async (): Promise<number> => {
    stopped = true
    return (await running) ?? 0
  },
})

/** @returns the number of messages sent */
async function produce(
  socket: Socket,
  { payloadBytes, batchBytes }: Omit<RelayProducerSetup, 'port'>,
): Promise<number> {
  const maker = new MessageMaker(payloadBytes)
  const builder = new BatchBuilder({ checksum: nodePlatform().checksum, initialBytes: batchBytes })
  const record = { payload: maker.payload, timestampMs: Date.now() }
  while (!stopped) {
    record.timestampMs = Date.now()
    while (builder.sizeBytes + payloadBytes + 64 <= batchBytes) {
      maker.next()
      builder.add(record)
    }
    const batch = builder.build()
    const prefix = Buffer.allocUnsafe(4)
    prefix.writeUInt32BE(batch.length)
    socket.cork()
    socket.write(prefix)
    socket.write(batch)
    socket.uncork()
    if (socket.writableLength >= batchesPerProducerMax * batchBytes) await once(socket, 'drain')
  }
  return maker.count
}
