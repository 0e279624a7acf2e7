/** `serve --workers 3` as a process: threads, their ports and directories, and what a crash of one of them does. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, connect } from 'ratatoskr/client'
import { verifyAuditLog } from 'ratatoskr/plugins/audit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCommand } from '../../contract-tests/batteries/harness/run-command.ts'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-workers-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const args = ['--workers', '3']
const topic = 'orders'
const partitions = 6

/** Enough connections that each worker has some, but for a chance of one in a million. */
const clientsOf = (url: string): Promise<readonly Client[]> =>
  Promise.all(Array.from({ length: 40 }, () => connect(url, { reconnect: false })))

async function readAll(client: Client, from = topic): Promise<readonly string[]> {
  const texts: string[] = []
  for (let partition = 0; partition < partitions; partition++) {
    for (let offset = 0; ; ) {
      const batch = await client.fetch(from, { partition, offset })
      if (batch.length === 0) break
      for (const message of batch) texts.push(`${partition}:${new TextDecoder().decode(message.payload)}`)
      offset = (batch.at(-1)?.offset ?? 0) + 1
    }
  }
  return texts.sort()
}

describe('serve --workers', () => {
  const schemes = ['tcp', 'ws', 'grpc']

  it('serves any partition on any connection over each transport, and again after SIGKILL', async () => {
    const sent = new Map<string, readonly string[]>()
    {
      await using server = await ServerProcess.start({ directory, args })
      for (const scheme of schemes) {
        const clients = await clientsOf(server.urls[scheme])
        const ofScheme = `${topic}.${scheme}`
        await clients[0].createTopic(ofScheme, { partitions })
        const receipts = await Promise.all(
          clients.map(async (client, i) => {
            const partition = i % partitions
            await client.publish(ofScheme, `${i}`, { partition })
            return `${partition}:${i}`
          }),
        )
        sent.set(scheme, receipts.sort())
        expect(await readAll(clients[1], ofScheme)).toEqual(sent.get(scheme))
        const stats = await clients[2].topicStats(ofScheme)
        expect(stats.messageCount).toBe(clients.length)
        await Promise.all(clients.map((client) => client.close()))
      }
      await server.crash()
    }
    expect((await readFile(join(directory, 'workers', 'count'), 'utf8')).trim()).toBe('3')
    await using server = await ServerProcess.start({ directory, args })
    for (const scheme of schemes) {
      await using client = await connect(server.urls[scheme])
      expect(await readAll(client, `${topic}.${scheme}`), scheme).toEqual(sent.get(scheme))
    }
  })

  it('stops on SIGTERM in order, and leaves audit logs, and a directory that another number of workers is refused', async () => {
    const audit = ['--set', 'audit.enabled=true', '--set', `audit.file=${join(directory, 'audit.jsonl')}`]
    await using server = await ServerProcess.start({ directory, args: [...args, ...audit] })
    const [client] = await clientsOf(server.urls.tcp)
    await client.createTopic(topic, { partitions })
    server.child.kill('SIGTERM')
    expect(await server.exited).toEqual({ code: 0, signal: null })
    expect(server.lines.at(-1)).toContain('"stopped"')
    for (const name of ['audit', 'audit-1', 'audit-2']) {
      const verified = await verifyAuditLog(join(directory, `${name}.jsonl`))
      expect(verified, name).toMatchObject({ valid: true })
    }
    for (const count of ['1', '2']) {
      const run = await runCommand(['serve', '--directory', directory, '--workers', count])
      expect(run.code).toBe(78)
      expect(run.stderr).toContain('RTK_CONFIG_INVALID')
      expect(run.stderr).toContain('start with workers 3')
    }
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as { port: number }
    const run = await runCommand(['serve', '--directory', directory, ...args, '--tcp-port', `${port}`])
    taken.close()
    expect(run.stderr).toContain('RTK_ADDRESS_IN_USE')
  })

  it('starts a worker again that crashes; nobody else notices, and nothing that was acknowledged is lost', async () => {
    const config = join(directory, 'crash.config.ts')
    // Set up in each worker: the first message that says so ends the thread that it entered at, unless that is the process.
    await writeFile(
      config,
      `import { isMainThread } from 'node:worker_threads'
       const crash = {
         name: 'crash',
         setup: (context) => {
           context.before('publish', ({ batch }) => {
             if (!isMainThread && Buffer.from(batch).includes('crash')) setImmediate(() => { throw new Error('planned') })
           })
         },
       }
       export default { plugins: [crash] }`,
    )
    const more = [...args, '--config', config]
    await using server = await ServerProcess.start({ directory: join(directory, 'data'), args: more })
    await using client = await connect(server.urls.http)
    await client.createTopic(topic, { partitions })
    const others = await clientsOf(server.urls.tcp)
    const acked = await Promise.all(
      others.map((one, i) => one.publish(topic, `${i}`, { partition: i % partitions })),
    )
    // On a connection to the process' own thread it is a message like any other.
    for (const one of others) {
      const outcome = await one.publish(topic, 'crash', { partition: 0 }).catch((error: unknown) => error)
      if (outcome instanceof Error) break
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (server.lines.some((line) => line.includes('component failed'))) break
    }
    const again = /"message":"component restarted","component":"worker [12]"/
    while (!server.lines.some((line) => again.test(line)))
      await new Promise((resolve) => setTimeout(resolve, 20))
    const texts = await readAll(client)
    for (let i = 0; i < acked.length; i++) expect(texts).toContain(`${i % partitions}:${i}`)
    await Promise.all(others.map((one) => one.close()))
  })
})
