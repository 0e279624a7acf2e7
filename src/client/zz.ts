import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import { createBroker } from 'ratatoskr'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
const broker = await createBroker({ storage: memoryStorage(), transports: [webSocketTransport({port:0})], platform: { logger: silentLogger } })
await broker.start()
const payload = new Uint8Array(100)
const timed = async (name: string, n: number, f: () => Promise<unknown>) => { const t = performance.now(); await f(); const s=(performance.now()-t)/1000; console.log(name, Math.round(n/s).toLocaleString(), 'msg/s') }
for (const [kind, client] of [['embedded', await broker.client()], ['ws', await connect(broker.addresses[0].url, {platform: broker.platform})]] as const) {
  const topic = 'o' + kind
  await client.createTopic(topic, { partitions: 1 })
  for (let r = 0; r < 2; r++) {
    await timed(kind + ' publish x1000 concurrent', 100_000, async () => { for (let i = 0; i < 100; i++) await Promise.all(Array.from({length: 1000}, () => client.publish(topic, payload))) })
    await timed(kind + ' publish sequential', 20_000, async () => { for (let i = 0; i < 20_000; i++) await client.publish(topic, payload) })
    const messages = Array.from({length: 10_000}, () => ({ payload }))
    await timed(kind + ' publishMany 10k', 100_000, async () => { for (let i = 0; i < 10; i++) await client.publishMany(topic, messages) })
    const producer = client.producer()
    await timed(kind + ' addAll', 1_000_000, async () => { await producer.addAll(topic, (function* () { for (let i = 0; i < 1_000_000; i++) yield messages[0] })()) })
  }
  const total = (await client.topicStats(topic)).messageCount
  await timed(kind + ' batches', total, async () => { let n = 0; for await (const b of await client.batches(topic, { from: 'earliest' })) { for (const r of b.records()) n++; if (n >= total) break } })
  await timed(kind + ' handler', total, async () => { let n = 0; const d = Promise.withResolvers<void>(); const s = await client.subscribe(topic, () => { if (++n === total) d.resolve() }, { from: 'earliest' }); await d.promise; await s.close() })
  await timed(kind + ' iterator group', total, async () => { let n = 0; const s = await client.subscribe(topic, { group: 'g' }); for await (const m of s) { if (++n === total) break } })
}
await broker.stop()
