/** `serve` as a process: its signals, its lock, and that it behaves as a broker in this process does. */
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { type Client, connect } from 'ratatoskr/client'
import { publishAndAssertDelivery, startTestBroker } from 'ratatoskr/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runCommand } from '../../contract-tests/batteries/harness/run-command.ts'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'

describe('a broker that serves', () => {
  let directory: string
  let server: ServerProcess
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-serve-'))
    server = await ServerProcess.start({ directory })
  })
  afterAll(async () => {
    await server.crash()
    await rm(directory, { recursive: true, force: true })
  })

  it('logs JSON lines on stderr, one of them that it is ready and where', () => {
    const lines = server.lines.map((line) => JSON.parse(line))
    const ready = lines.find(({ message }) => message === 'ready')
    expect(ready).toMatchObject({ level: 'info', storage: 'disk' })
    expect(ready.addresses).toEqual([
      expect.stringMatching(/^grpc:\/\/127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^ws:\/\/127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^tcp:\/\/127\.0\.0\.1:\d+$/),
    ])
  })

  it('has its directory for itself: another exits naming the holder, and has touched no file', async () => {
    await using client = await connect(server.urls.ws)
    await client.createTopic('orders')
    await client.publish('orders', 'x', { durability: 'fsync' })
    const before = await snapshot(directory)
    const ports = ['--grpc-port', '0', '--http-port', '0', '--websocket-port', '0', '--tcp-port', '0']
    const second = await runCommand(['serve', '--directory', directory, ...ports])
    expect(second.code).toBe(6)
    expect(second.stderr).toContain('RTK_STORE_LOCKED')
    expect(second.stderr).toContain(`process ${server.child.pid}`)
    expect(await snapshot(directory)).toEqual(before)
    // The holder goes on.
    expect((await client.publish('orders', 'y')).offset).toBe(1)
    await client.deleteTopic('orders')
  })

  it('gives the same results as a broker in this process', async () => {
    await using broker = await startTestBroker({ transports: [grpcTransport({ port: 0 })] })
    await using embedded = await broker.client()
    await using spawned = await connect(server.urls.grpc)
    const results = [await tour(embedded), await tour(spawned)]
    expect(results[1]).toEqual(results[0])
    expect(results[0].slice(0, 4)).toEqual([true, 2, false, 'RTK_TOPIC_EXISTS'])
  })
})

describe('serve', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-serve-'))
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'on %s is ready no more, answers what is under way, and exits 0',
    async (signal) => {
      await using server = await ServerProcess.start({ directory })
      const ready = () =>
        fetch(`${server.urls.http}/readyz`).then(
          ({ status }) => status,
          () => 'nobody listens',
        )
      expect(await ready()).toBe(200)
      await using client = await connect(server.urls.ws, { reconnect: false })
      await client.createTopic('orders')
      // A poll that waits is under way, known by a publish that it would see, when the signal comes.
      const polling = fetch(
        `${server.urls.http}/v1/topics/orders/messages?partition=0&offset=latest&waitMs=20000`,
      )
      const published = Array.from({ length: 100 }, (_, i) => client.publish('orders', `${i}`))
      const settled = Promise.allSettled(published)
      await published[0]
      server.child.kill(signal)
      // Whoever asks from now on is told that it is not ready, while the others are still served.
      expect(await until(ready, (answer) => answer !== 200)).toBe(503)
      expect((await client.topicStats('orders')).topic).toBe('orders')
      expect((await polling).status).toBeLessThan(504)
      expect(await server.exited).toEqual({ code: 0, signal: null })
      expect(server.lines.at(-1)).toContain('"stopped"')
      // What was acknowledged while it drained is there afterwards.
      const acked = (await settled).filter(({ status }) => status === 'fulfilled').length
      await using after = await startTestBroker({ storage: diskStorage({ directory }) })
      expect((await after.topicStats('orders')).messageCount).toBeGreaterThanOrEqual(acked)
    },
  )

  it('keeps what it acknowledged over a stop and a start', async () => {
    await using first = await ServerProcess.start({ directory })
    const before = await connect(first.urls.ws)
    await before.createTopic('orders', { partitions: 2, retentionMs: 86_400_000 })
    const receipt = await before.publish('orders', 'kept', { partition: 1 })
    const described = await before.describeTopic('orders')
    await before.close()
    expect(await first.stop()).toBe(0)
    await using second = await ServerProcess.start({ directory })
    await using after = await connect(second.urls.http)
    expect(await after.describeTopic('orders')).toEqual(described)
    const [message] = await after.fetch('orders', { partition: 1 })
    expect([message.id, message.offset]).toEqual([receipt.id, receipt.offset])
  })
})

/** Asks again until the answer is right. */
async function until<T>(ask: () => Promise<T>, right: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (right(answer)) return answer
  }
}

/** Everything that a user sees of a broker, with what differs by nature (ids, times) left out. */
async function tour(client: Client): Promise<unknown[]> {
  const code = (error: { code?: string }) => error.code
  const seen: unknown[] = []
  const created = await client.createTopic('tour', { partitions: 2 })
  seen.push(
    created.created,
    created.topic.config.partitions,
    (await client.createTopic('tour', { partitions: 2 })).created,
  )
  seen.push(await client.createTopic('tour', { partitions: 3 }).catch(code))
  const messages = ['a', 'b', 'c'].map((payload, i) => ({ payload, key: payload, headers: { i: `${i}` } }))
  const { receipts } = await publishAndAssertDelivery({
    topic: 'tour',
    messages,
    publisher: client,
    subscriber: client,
    group: 'g',
  })
  seen.push(receipts.map(({ partition, offset }) => [partition, offset]))
  const group = await client.describeGroup('tour', 'g')
  seen.push(
    group.lag,
    group.state,
    group.partitions.map(({ committedOffset }) => committedOffset),
  )
  seen.push(await client.seek('tour', 'g', 'earliest'), (await client.describeGroup('tour', 'g')).lag)
  seen.push((await client.topicStats('tour')).messageCount, await client.offsets('tour', 'latest'))
  seen.push(
    await client.publish('no spaces', 'x').catch(code),
    await client.describeTopic('nothing').catch(code),
  )
  seen.push((await client.alterTopic('tour', { partitions: 3 })).partitions.length)
  await client.deleteTopic('tour')
  seen.push(await client.topicExists('tour'), await client.listTopics())
  return seen
}

/** Everything below a directory: contents, sizes and times of change. */
async function snapshot(path: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    const { mtimeNs, ctimeNs, size, ino } = await stat(file, { bigint: true })
    const hash = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(file))
          .digest('hex')
      : 'directory'
    found[file] = [hash, size, ino, mtimeNs, ctimeNs].map(String)
  }
  const { mtimeNs, ctimeNs } = await stat(path, { bigint: true })
  return { ...found, [path]: [mtimeNs, ctimeNs].map(String) }
}
