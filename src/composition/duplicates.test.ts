/** Duplicates over real parts: a disk that is started again, and clients whose connections are lost. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
import { BatchBuilder, portableCrc32c, utf8 } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { silent } from '../../contract-tests/transport/context.ts'

const id = '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20'
const none = { kind: 'none' } as const
const peer = { transport: 'test', address: 'here', local: true, encrypted: false }

function numbered(baseSequence: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  builder.add({ payload: utf8(`${baseSequence}`), timestampMs: 0 })
  return builder.build({ producerId: 7, epoch: 0, baseSequence })
}

it('are known by a broker on a disk that is started again', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rtk-duplicates-'))
  const start = async () => {
    const broker = await createBroker({ storage: diskStorage({ directory }), platform: { logger: silent } })
    await broker.start()
    return { broker, session: await broker.facade.connect(peer, none) }
  }
  try {
    const first = await start()
    await first.session.createTopic('orders', { dedupWindowMs: 60_000, durability: 'os' })
    for (let at = 0; at < 7; at++) await first.session.publishBatch('orders', 0, numbered(at))
    await first.session.publish('orders', { payload: utf8('x'), id })
    await first.broker.stop()
    const { broker, session } = await start()
    for (const at of [6, 2])
      expect(await session.publishBatch('orders', 0, numbered(at))).toMatchObject({
        baseOffset: at,
        duplicate: true,
      })
    expect(await session.publishBatch('orders', 0, numbered(7))).toMatchObject({ baseOffset: 8 })
    expect(await session.publish('orders', { payload: utf8('y'), id })).toMatchObject({
      offset: 7,
      duplicate: true,
    })
    await broker.stop()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

it('are not made by a producer whose broker is started again and again while it publishes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'rtk-duplicates-'))
  let port = 0
  const start = async () => {
    const transport = webSocketTransport({ port })
    const broker = await createBroker({
      storage: diskStorage({ directory }),
      transports: [transport],
      platform: { logger: silent },
    })
    await broker.start()
    port = transport.address?.port ?? port
    return broker
  }
  try {
    let broker = await start()
    await broker.createTopic('orders', { durability: 'os' })
    await using client = await connect(`ws://127.0.0.1:${port}`)
    const producer = client.producer({ timeoutMs: 30_000 })
    const publishes: Promise<{ offset: number }>[] = []
    for (let round = 0; round < 3; round++) {
      for (let turn = 0; turn < 50; turn++) {
        publishes.push(producer.publish('orders', `${publishes.length}`))
        if (turn % 5 === 0) await Promise.race([publishes.at(-1), new Promise(setImmediate)])
      }
      await broker.stop()
      broker = await start()
    }
    const offsets = (await Promise.all(publishes)).map(({ offset }) => offset)
    expect(offsets).toEqual(offsets.map((_, place) => place))
    const [partition] = (await broker.describeTopic('orders')).partitions
    expect(partition.stableOffset).toBe(publishes.length)
    await broker.stop()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
