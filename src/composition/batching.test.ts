/** A batch is what is written, synced and sent, and a lone message is a batch of one. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
import { BatchBuilder, type Plugin, portableCrc32c, utf8 } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { describe, expect, it, onTestFinished } from 'vitest'

function batchOf(count: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (let i = 0; i < count; i++) builder.add({ payload: utf8(`${i}`), timestampMs: 1_000 })
  return new Uint8Array(builder.build())
}

/** A broker on disk, a client of it, and how many records each batch held that came in since it was asked before. */
async function rig(scheme: string) {
  const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-batching-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  let came: number[] = []
  const watch: Plugin = {
    name: 'watch',
    setup: (context) =>
      void context.on('messagePublished', ({ recordCount }) => void came.push(recordCount) as undefined),
  }
  const port = { port: 0 }
  const transports = [tcpTransport(port), webSocketTransport(port), grpcTransport(port), httpTransport(port)]
  const broker = await startTestBroker({ storage: diskStorage({ directory }), transports, plugins: [watch] })
  onTestFinished(() => broker.stop())
  await broker.createTopic('orders', { durability: 'fsync' })
  const { url } = broker.addresses.find((address) => address.url.startsWith(`${scheme}:`)) as { url: string }
  const client = await connect(url)
  onTestFinished(() => client.close())
  const { appends, syncs } = broker.stats().storage
  const taken = () => {
    const batches = came
    came = []
    const { storage } = broker.stats()
    return { batches, appends: storage.appends - appends, syncs: storage.syncs - syncs }
  }
  return { client, taken }
}

describe.each(['tcp', 'ws', 'grpc', 'http'])('over %s', (scheme) => {
  it('a thousand messages in a batch are one frame, one append and one sync', async () => {
    const { client, taken } = await rig(scheme)
    const { baseOffset, recordCount, durability } = await client.publishBatch('orders', 0, batchOf(1_000))
    expect([baseOffset, recordCount, durability]).toEqual([0, 1_000, 'fsync'])
    expect(taken()).toEqual({ batches: [1_000], appends: 1, syncs: 1 })
  })

  it('messages that are published together are few batches, and each is told of by itself', async () => {
    const { client, taken } = await rig(scheme)
    const results = await client.publishMany('orders', [
      ...Array.from({ length: 99 }, (_, i) => ({ payload: `${i}` })),
      { payload: 'elsewhere', partition: 7 },
    ])
    const failed = results.flatMap((result, i) => ('error' in result ? [`${i} ${result.error.code}`] : []))
    expect(failed).toEqual(['99 RTK_PARTITION_NOT_FOUND'])
    expect(results.slice(0, 99).map((result) => 'offset' in result && result.offset)).toEqual([
      ...Array(99).keys(),
    ])
    const { batches, appends, syncs } = taken()
    expect(batches.reduce((sum, count) => sum + count, 0)).toBe(99)
    expect(Math.max(appends, syncs, batches.length)).toBeLessThanOrEqual(2)
  })

  it('a message alone is a batch of one', async () => {
    const { client, taken } = await rig(scheme)
    expect((await client.publish('orders', 'x')).offset).toBe(0)
    expect(taken()).toEqual({ batches: [1], appends: 1, syncs: 1 })
    await using batches = await client.batches('orders', { from: 'earliest' })
    for await (const { fromOffset, nextOffset } of batches) {
      expect([fromOffset, nextOffset]).toEqual([0, 1])
      break
    }
  })

  it('of batches that are sent together all are stored or none', async () => {
    const { client, taken } = await rig(scheme)
    const [good, bad] = [batchOf(3), batchOf(2)]
    bad[bad.length - 1] ^= 1
    const both = new Uint8Array([...good, ...bad])
    await expect(client.publishBatch('orders', 0, both)).rejects.toMatchObject({
      code: 'RTK_BATCH_CRC_MISMATCH',
    })
    expect(taken()).toEqual({ batches: [], appends: 0, syncs: 0 })
    expect((await client.offsets('orders', 'latest'))[0].offset).toBe(0)
  })
})
