/** What is delivered is the bytes that were received or stored, looked at and not copied: by identity of their buffers. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { type Client, connect } from 'ratatoskr/client'
import { BatchBuilder, isKeepable, portableCrc32c, type Storage, utf8Text } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { describe, expect, it, onTestFinished } from 'vitest'

/** A batch in an array of its own. */
function batchOf(count: number, payloadBytes: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (let i = 0; i < count; i++) {
    builder.add({
      payload: Buffer.from(`${i}`.padEnd(payloadBytes, '.')),
      key: Buffer.from('key'),
      timestampMs: 1_000,
    })
  }
  return new Uint8Array(builder.build())
}

type Reader = Pick<Client, 'subscribe' | 'batches'>

/** The payloads of the first messages of a topic. */
async function payloadsOf(reader: Reader, count: number): Promise<Uint8Array[]> {
  const payloads: Uint8Array[] = []
  await using messages = await reader.subscribe('orders', { from: 'earliest' })
  for await (const { payload } of messages) if (payloads.push(payload) === count) break
  return payloads
}

const textsOf = (payloads: readonly Uint8Array[]): string[] =>
  payloads.map((payload) => utf8Text(payload).slice(0, 3))

async function diskStorageOf(): Promise<Storage> {
  const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-by-reference-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return diskStorage({ directory })
}

describe.each([
  ['memory', async () => memoryStorage()],
  ['disk', diskStorageOf],
])('in process, with storage in %s', (_, open) => {
  it('the payload that a subscriber gets lies in the very batch that was published, when it is large', async () => {
    const broker = await startTestBroker({ storage: await open() })
    onTestFinished(() => broker.stop())
    await broker.createTopic('orders')
    const batch = batchOf(100, 1_000)
    expect(isKeepable(batch)).toBe(true)
    await broker.publishBatch('orders', 0, batch)
    for (const payloads of [await payloadsOf(broker, 100), await payloadsOf(broker, 100)]) {
      expect(textsOf(payloads).slice(0, 3)).toEqual(['0..', '1..', '2..'])
      expect(payloads.every((payload) => payload.buffer === batch.buffer)).toBe(true)
    }
  })

  it('those of small batches lie in the buffer of the log, the same for all subscribers', async () => {
    const broker = await startTestBroker({ storage: await open() })
    onTestFinished(() => broker.stop())
    await broker.createTopic('orders')
    for (let i = 0; i < 3; i++) await broker.publishBatch('orders', 0, batchOf(2, 20))
    const [one, other] = [await payloadsOf(broker, 6), await payloadsOf(broker, 6)]
    expect(textsOf(one)).toEqual(['0..', '1..', '0..', '1..', '0..', '1..'])
    for (const [i, payload] of one.entries()) {
      expect(payload.buffer).toBe(one[0].buffer)
      expect([other[i].buffer, other[i].byteOffset]).toEqual([payload.buffer, payload.byteOffset])
    }
  })
})

describe.each([
  ['TCP', () => tcpTransport({ port: 0 })],
  ['WebSocket', () => webSocketTransport({ port: 0 })],
  ['gRPC', () => grpcTransport({ port: 0 })],
])('over %s', (_, transport) => {
  async function rig() {
    const broker = await startTestBroker({ transports: [transport()] })
    onTestFinished(() => broker.stop())
    await broker.createTopic('orders')
    const client = await connect(broker.addresses[0].url)
    onTestFinished(() => client.close())
    return { broker, client }
  }

  it('records are views of the batch as it came', async () => {
    const { broker, client } = await rig()
    await broker.publishBatch('orders', 0, batchOf(50, 100))
    await using batches = await client.batches('orders', { from: 'earliest' })
    for await (const batch of batches) {
      let records = 0
      for (const { bytes, valueStart, valueEnd } of batch.records()) {
        records++
        expect(bytes).toBe(batch.bytes)
        expect(valueEnd - valueStart).toBe(100)
      }
      expect(records).toBe(50)
      break
    }
  })

  it('payloads of messages are views of what was received, and none is copied out', async () => {
    const { broker, client } = await rig()
    await broker.publishBatch('orders', 0, batchOf(50, 100))
    const payloads = await payloadsOf(client, 50)
    expect(textsOf(payloads).slice(0, 3)).toEqual(['0..', '1..', '2..'])
    const [{ buffer, byteOffset }] = payloads
    expect(buffer.byteLength).toBeGreaterThan(50 * 100)
    for (const payload of payloads) expect(payload.buffer).toBe(buffer)
    expect(payloads[49].byteOffset - byteOffset).toBeGreaterThan(49 * 100)
  })
})
