/** The codec that a topic asks for: producers that say nothing compress by it, over every link, and readers read them all. */

import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EmbeddedBroker } from '../composition/embedded-broker.ts'
import { batchSizeOf, compressionOf } from '../domain/batch/header.ts'
import type { Client } from './client.ts'
import { connect } from './connect.ts'
import { links, startBroker, take, textsOf } from './testing/every-link.ts'

const text = 'walnut '.repeat(300)
const { none, gzip, zstd } = { none: 0, gzip: 1, zstd: 4 }

describe.each(links)('the compression of a topic over %s', (_name, setup) => {
  let broker: EmbeddedBroker
  let client: Client

  beforeEach(async () => {
    broker = await startBroker(setup.transports())
    client = await setup.client(broker)
  })

  afterEach(async () => {
    await client.close()
    await broker.stop()
  })

  it('is what producers compress by that say nothing', async () => {
    await client.createTopic('letters', { compression: 'zstd' })
    await using producer = client.producer()
    await producer.publish('letters', text)
    await using plain = client.producer({ compression: 'none' })
    await plain.publish('letters', text)
    await using gzipped = client.producer({ compression: 'gzip' })
    await gzipped.publish('letters', text)
    expect(await codecsOf(client, 'letters', 3)).toEqual([zstd, none, gzip])
    await using subscription = await client.subscribe('letters', { from: 'earliest' })
    expect(textsOf(await take(subscription, 3))).toEqual([text, text, text])
  })

  it('may change, and is told', async () => {
    await client.createTopic('letters')
    expect((await client.describeTopic('letters')).config.compression).toBe('none')
    expect((await client.alterTopic('letters', { compression: 'gzip' })).config.compression).toBe('gzip')
    await using producer = client.producer()
    await producer.publish('letters', text)
    expect(await codecsOf(client, 'letters', 1)).toEqual([gzip])
    await expect(client.alterTopic('letters', { compression: 'lz4' as never })).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.stringContaining('none, gzip, snappy, zstd'),
    })
  })
})

it('is left out by a client that lacks the codec, and refused when it asks for it itself', async () => {
  await using broker = await startBroker([tcpTransport({ port: 0 })])
  const platform = { ...broker.platform, compression: new Map() }
  await using client = await connect(broker.addresses[0].url, { platform })
  await client.createTopic('letters', { compression: 'zstd' })
  await using producer = client.producer()
  await producer.publish('letters', text)
  expect(await codecsOf(client, 'letters', 1)).toEqual([none])
  expect(() => client.producer({ compression: 'zstd' })).toThrow(
    expect.objectContaining({ code: 'RTK_COMPRESSION_UNAVAILABLE' }),
  )
})

/** The codec of each of the topic's first batches. */
async function codecsOf(client: Client, topic: string, count: number): Promise<number[]> {
  const found: number[] = []
  await using reading = await client.batches(topic, { from: 'earliest' })
  for await (const { bytes } of reading) {
    for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) found.push(compressionOf(bytes, at))
    if (found.length >= count) break
  }
  return found
}
