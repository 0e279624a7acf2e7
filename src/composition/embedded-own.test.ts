/** What a client in the broker's own process is spared, and what it is not. */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { BatchBuilder, crcOf, crcStart, portableCrc32c, utf8 } from 'ratatoskr/ports'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { silent } from '../../contract-tests/transport/context.ts'

let checked = 0
let broker: EmbeddedBroker

beforeEach(async () => {
  const checksum = (bytes: Uint8Array): number => {
    checked++
    return portableCrc32c(bytes)
  }
  broker = await createBroker({ storage: memoryStorage(), platform: { checksum, logger: silent } })
  await broker.start()
  await broker.createTopic('t', { partitions: 1 })
  await broker.publish('t', 'the first finds the topic')
  checked = 0
})

afterEach(() => broker.stop())

it('the checksum of a batch that this process builds is computed once, and is right', async () => {
  await broker.publish('t', 'a')
  expect(checked).toBe(1)
  const peer = { transport: 'test', address: 'here', local: true, encrypted: false }
  const session = await broker.facade.connect(peer, { kind: 'none' })
  const { bytes } = await session.fetch('t', { partition: 0, offset: 1 })
  expect(crcOf(bytes)).toBe(portableCrc32c(bytes.subarray(crcStart)))
})

it('batches that a program has built itself are checked', async () => {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  builder.add({ payload: utf8('a'), timestampMs: 1 })
  const batch = builder.build()
  batch[batch.length - 3] ^= 1
  await expect(broker.publishBatch('t', 0, batch)).rejects.toMatchObject({ code: 'RTK_BATCH_CRC_MISMATCH' })
})

it('messages larger than the topic takes by now are refused, though the client knew another bound', async () => {
  await broker.alterTopic('t', { messageBytesMax: 10 })
  const publish = broker.publish('t', 'more than ten bytes')
  await expect(publish).rejects.toMatchObject({ code: 'RTK_MESSAGE_TOO_LARGE' })
})
