/**
 * The browser entry in a real browser: Chromium loads the client's own modules, with their types stripped, and talks to
 * a broker. Where there is no Chromium the test is skipped and says so.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { BatchBuilder, type Transport } from 'ratatoskr/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const chromiumPath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium'
const found = existsSync(chromiumPath)
if (!found) console.warn(`the browser test is skipped: there is no ${chromiumPath}; install chromium`)

const root = join(import.meta.dirname, '../../..')
const platform = nodePlatform({ logger: silentLogger })
const supervision = { failed: () => {} }

/** Serves the sources as modules, and an empty page to load them from. */
const server = createServer((request, response) => {
  const path = request.url ?? '/'
  if (path === '/') response.setHeader('content-type', 'text/html').end('<!doctype html><title>test</title>')
  else if (!/^\/src\/[a-z0-9/-]+\.ts$/.test(path)) response.writeHead(404).end()
  else {
    const source = stripTypeScriptTypes(readFileSync(join(root, path), 'utf8'))
    response.setHeader('content-type', 'text/javascript').end(source)
  }
})

describe.skipIf(!found)('the client in a browser', () => {
  let broker: EmbeddedBroker
  let transport: Transport
  let browser: Browser
  let page: Page
  let origin: string

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    broker = await createBroker({ storage: memoryStorage(), platform })
    await broker.start()
    transport = webSocketTransport({ port: 0, allowedOrigins: [origin] })
    await transport.start(broker.facade, supervision)
    browser = await chromium.launch({
      executablePath: chromiumPath,
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
      ],
    })
    page = await browser.newPage()
    await page.goto(origin)
  }, 60_000)

  afterAll(async () => {
    await browser?.close()
    await transport?.stop(1_000)
    await broker?.stop()
    server.close()
  })

  /** Runs code in the page, with a client in `client`. The code is text: a test runner's rewriting stops at it. */
  const inPage = <Result>(code: string): Promise<Result> =>
    page.evaluate(`(async () => {
      const { connect, isRatatoskrError } = await import('/src/client/browser.ts')
      globalThis.client ??= await connect(${JSON.stringify(transport.address?.url)}, { reconnect: { baseMs: 10, maxMs: 50 } })
      const { client } = globalThis
      ${code}
    })()`)

  it('publishes and subscribes, every byte as it was', async () => {
    const seen = await inPage<unknown[]>(`
      await client.createTopic('orders', { partitions: 1 })
      const subscription = await client.subscribe('orders', { from: 'earliest' })
      const binary = Uint8Array.from({ length: 1024 * 1024 }, (_, i) => (i * 7) & 0xff)
      await client.publish('orders', binary, { key: 'customer-7', headers: { trace: 'é' } })
      await client.publish('orders', 'text \u{1F600}')
      await client.publish('orders', '')
      const seen = []
      for await (const message of subscription) {
        const { payload, key, offset } = message
        const same = offset !== 0 || payload.every((byte, i) => byte === binary[i])
        seen.push([offset, payload.length, same, key && new TextDecoder().decode(key)])
        if (seen.length === 3) break
      }
      return seen`)
    expect(seen).toEqual([
      [0, 1024 * 1024, true, 'customer-7'],
      [1, 9, true, undefined],
      [2, 0, true, undefined],
    ])
  })

  it('reads what others compressed with codecs that a browser lacks', async () => {
    const builder = new BatchBuilder({
      checksum: platform.checksum,
      compression: platform.compression.get(4),
    })
    for (let n = 0; n < 50; n++) {
      builder.add({ payload: new TextEncoder().encode(`number ${n} ${'z'.repeat(100)}`), timestampMs: 1 })
    }
    await broker.createTopic('packed')
    await broker.publishBatch('packed', 0, builder.build())
    const seen = await inPage<string[]>(`
      const texts = []
      for await (const { payload } of await client.subscribe('packed', { from: 'earliest' })) {
        texts.push(new TextDecoder().decode(payload))
        if (texts.length === 50) return texts
      }`)
    expect(seen[49]).toBe(`number 49 ${'z'.repeat(100)}`)
  })

  it('acknowledges what it handled, and after a reconnect goes on there without gap or duplicate', async () => {
    await broker.createTopic('work', { partitions: 1 })
    for (let n = 0; n < 5; n++) await broker.publish('work', `${n}`)
    await inPage(`
      globalThis.seen = []
      globalThis.reconnects = 0
      globalThis.work = await client.subscribe(
        'work',
        async (message) => void globalThis.seen.push(new TextDecoder().decode(message.payload)),
        { group: 'g', onReconnect: () => globalThis.reconnects++ },
      )`)
    await using client = await broker.client()
    const acked = async (): Promise<number> =>
      (await client.describeQueue('work', 'g')).partitions[0].ackedOffset
    await expect.poll(acked, { timeout: 10_000 }).toBe(5)

    const port = transport.address?.port
    await transport.stop(1_000)
    for (let n = 5; n < 10; n++) await broker.publish('work', `${n}`)
    transport = webSocketTransport({ port, allowedOrigins: [origin] })
    await transport.start(broker.facade, supervision)
    await expect.poll(acked, { timeout: 10_000 }).toBe(10)
    expect(await inPage('return [globalThis.seen, globalThis.reconnects]')).toEqual([
      ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
      1,
    ])
    await inPage('await globalThis.work.close()')
    expect((await client.describeQueue('work', 'g')).members).toEqual([])
  })

  it('gets errors with their codes', async () => {
    const code = await inPage(`
      try {
        await client.describeTopic('missing')
      } catch (error) {
        return [isRatatoskrError(error, 'RTK_TOPIC_NOT_FOUND'), error.code]
      }`)
    expect(code).toEqual([true, 'RTK_TOPIC_NOT_FOUND'])
  })

  it('is refused from a page of a foreign origin', async () => {
    const other = await browser.newPage()
    await other.goto(origin.replace('127.0.0.1', 'localhost'))
    const code = await other.evaluate(`(async () => {
      const { connect } = await import('/src/client/browser.ts')
      return connect(${JSON.stringify(transport.address?.url)}, { timeoutMs: 5000 }).then(() => 'open', (error) => error.code)
    })()`)
    expect(code).toBe('RTK_DISCONNECTED')
    await other.close()
  })

  it('closes', async () => {
    const sessions = broker.stats().sessions
    await inPage('await client.close()')
    await expect.poll(() => broker.stats().sessions).toBe(sessions - 1)
  })
})
