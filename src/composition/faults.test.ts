/** Parts that fail: what is theirs recovers, what is not does not notice, and nothing that was acknowledged is lost. */
import type { EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
import { RatatoskrError, type Session, type Transport, utf8 } from 'ratatoskr/ports'
import {
  chaosTest,
  type Faults,
  faultyStorage,
  publishAndAssertDelivery,
  startTestBroker,
} from 'ratatoskr/testing'
import { describe, expect, it } from 'vitest'

const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
const sessionOf = (broker: EmbeddedBroker): Promise<Session> => broker.facade.connect(peer, { kind: 'none' })

/** Waits until a condition holds, an event-loop turn at a time; the test's deadline bounds it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** A transport that can be told to fail, as one whose listener died does. */
function failing(inner: Transport): { transport: Transport; fail: () => void; starts: () => number } {
  let starts = 0
  let fail = (): void => {}
  return {
    fail: () => fail(),
    starts: () => starts,
    transport: {
      name: inner.name,
      supports: inner.supports,
      get address() {
        return inner.address
      },
      stop: (deadlineMs) => inner.stop(deadlineMs),
      async start(broker, supervision) {
        starts++
        fail = () => supervision.failed(new RatatoskrError('RTK_UNAVAILABLE', 'the listener died'))
        return inner.start(broker, supervision)
      },
    },
  }
}

describe('a topic whose store throws', () => {
  it('is supervised and recovers, while another topic goes on', async () => {
    const faults: Faults = {}
    await using broker = await startTestBroker({ storage: faultyStorage(memoryStorage(), faults) })
    const { topic: sick } = await broker.createTopic('sick')
    await broker.createTopic('well')
    const session = await sessionOf(broker)
    const message = { payload: utf8('before') }
    await session.publish('sick', message)
    const reader = await broker.subscribe('sick', { from: 'earliest' })

    let refused = 0
    faults.append = ({ topicId }) => {
      if (topicId !== sick.id) return undefined
      refused++
      throw new Error('EIO: at /dev/sda')
    }
    const failure = await session.publish('sick', message).catch((error: RatatoskrError) => error)
    expect(failure).toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect((failure as RatatoskrError).message).not.toContain('/dev')
    expect(broker.health()).toMatchObject({ status: 'degraded', ready: true })
    const messages = Array.from({ length: 300 }, (_, i) => `${i}`)
    await publishAndAssertDelivery({ topic: 'well', messages, publisher: broker, subscriber: broker })
    const retried = broker.publish('sick', 'after', { timeoutMs: 15_000 })
    await until(() => refused > 1)

    faults.append = undefined
    expect((await retried).offset).toBe(1)
    await until(() => broker.health().status === 'ok')
    const got = await reader.take(1, { waitMs: 5_000 })
    if (got.length < 2) got.push(...(await reader.take(1, { waitMs: 5_000 })))
    expect(got.map((one) => [one.offset, one.text()])).toEqual([
      [0, 'before'],
      [1, 'after'],
    ])
    expect((await broker.topicStats('sick')).messageCount).toBe(2)
  })

  it('whose reads fail gives nothing wrong, and everything once they work', async () => {
    const faults: Faults = {}
    await using broker = await startTestBroker({ storage: faultyStorage(memoryStorage(), faults) })
    for (const payload of ['a', 'b']) await broker.publish('orders', payload)
    let failed = 0
    faults.read = () => {
      if (failed++ > 2) return undefined
      throw new RatatoskrError('RTK_STORE_FAILED', 'the read failed')
    }
    await using reader = await broker.subscribe('orders', { from: 'earliest' })
    const texts: string[] = []
    for await (const message of reader) if (texts.push(message.text()) === 2) break
    expect(texts).toEqual(['a', 'b'])
    expect(failed).toBeGreaterThan(3)
  })
})

describe('a transport that fails', () => {
  it('is started again, while clients of the others see no error', async () => {
    const http = failing(httpTransport({ port: 0 }))
    await using broker = await startTestBroker({ transports: [grpcTransport({ port: 0 }), http.transport] })
    await using client = await connect(broker.addresses[0].url, {
      platform: broker.platform,
      reconnect: false,
    })
    await client.createTopic('orders')
    let published = 0
    let over = false
    const publishing = (async () => {
      while (!over) {
        await client.publish('orders', `${published}`)
        published++
      }
    })()
    await until(() => published > 20)
    http.fail()
    expect(broker.health().status).toBe('degraded')
    await until(() => http.starts() === 2 && broker.health().status === 'ok')
    const before = published
    await until(() => published > before + 20)
    over = true
    await publishing
    expect((await broker.topicStats('orders')).messageCount).toBe(published)
    const url = broker.addresses.find((address) => address.url.startsWith('http:'))?.url as string
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
  })
})

describe('under chaos', () => {
  it('nothing acknowledged is lost, doubled or out of order while stores and transports fail', async () => {
    const faults: Faults = {}
    const transports = [grpcTransport, webSocketTransport, httpTransport].map((make) =>
      failing(make({ port: 0 })),
    )
    await using broker = await startTestBroker({
      storage: faultyStorage(memoryStorage(), faults),
      transports: transports.map(({ transport }) => transport),
    })
    await broker.createTopic('orders', { partitions: 3 })
    const over = (scheme: string) => () => {
      const url = broker.addresses.find((address) => address.url.startsWith(`${scheme}:`))?.url
      if (url === undefined) throw new RatatoskrError('RTK_DISCONNECTED', 'it is being started again')
      return connect(url, { platform: broker.platform, reconnect: false, timeoutMs: 2_000 })
    }
    const report = await chaosTest({
      topic: 'orders',
      producers: [over('grpc'), over('ws'), over('http'), () => broker.client()],
      reader: () => broker.client(),
      async chaos(progress) {
        for (const [i, { fail, starts }] of transports.entries()) {
          await progress.ackedMore(200)
          let sick = 3
          faults.append = () => {
            if (sick-- > 0) throw new Error('EIO')
            return undefined
          }
          await progress.ackedMore(200)
          fail()
          await until(() => starts() === 2 && transports[i].transport.address !== undefined)
        }
        await progress.ackedMore(500)
      },
    })
    expect(report.acked).toBeGreaterThan(1_700)
    expect(report.stored).toBeGreaterThanOrEqual(report.acked)
    expect(broker.health().ready).toBe(true)
  })

  it('the assertion itself finds what a store loses', async () => {
    const storage = memoryStorage()
    let appends = 0
    const losing = {
      ...storage,
      open(platform: Parameters<typeof storage.open>[0]) {
        const stores = storage.open(platform)
        const logs = Object.create(stores.logs, {
          openLog: {
            async value(...args: Parameters<typeof stores.logs.openLog>) {
              const log = await stores.logs.openLog(...args)
              const append = log.append.bind(log)
              // Every fiftieth batch is lost: the one before is stored again in its place.
              let last: Uint8Array | undefined
              log.append = (batch, baseOffset, recordCount, durability) => {
                const again = ++appends % 50 === 0 && last?.length === batch.length ? last.slice() : batch
                if (again !== batch) new DataView(again.buffer).setBigInt64(0, BigInt(baseOffset))
                last = batch.slice()
                return append(again, baseOffset, recordCount, durability)
              }
              return log
            },
          },
        })
        for (const name of ['start', 'stop', 'listLogs', 'deleteLog'] as const)
          Object.defineProperty(logs, name, { value: stores.logs[name].bind(stores.logs) })
        return { logs, state: stores.state }
      },
    }
    await using broker = await startTestBroker({ storage: losing })
    const run = chaosTest({
      topic: 'orders',
      producers: [() => broker.client()],
      reader: () => broker.client(),
      inFlightMax: 1,
      chaos: (progress) => progress.ackedMore(300),
    })
    await expect(run).rejects.toThrow(/broken promises[\s\S]*(missing|twice)/)
  })
})
