import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'ratatoskr/client'
import { verifyAuditLog } from 'ratatoskr/plugins/audit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServedBroker } from '../composition/served-broker.ts'
import { RatatoskrError } from '../ports/index.ts'
import { brokerOfConfig } from './broker-of-config.ts'
import { completeConfig } from './config/schema.ts'

const token = 'a-token-of-some-length'
let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-broker-of-config-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** A broker of this configuration on free ports, in memory unless it says otherwise. */
const brokerOf = (config: Record<string, object>) =>
  brokerOfConfig(
    completeConfig({
      storage: { kind: 'memory' },
      log: { level: 'error' },
      ...config,
      ...Object.fromEntries(
        ['grpc', 'http', 'websocket', 'tcp'].map((name) => [name, { port: 0, ...config[name] }]),
      ),
    }),
  )

const clientOf = ({ addresses: [{ url }] }: ServedBroker) => connect(url, { reconnect: false })

const off = { enabled: false }
const httpAlone = { grpc: off, websocket: off, tcp: off }

describe('brokerOfConfig', () => {
  it.each([
    [{}, ['grpc', 'ws', 'http', 'tcp']],
    [httpAlone, ['http']],
    [{ ...httpAlone, http: off }, []],
  ])('listens as %j says', async (config, schemes) => {
    await using broker = await brokerOf(config)
    await broker.start()
    expect(broker.addresses.map(({ url }) => url.slice(0, url.indexOf(':')))).toEqual(schemes)
  })

  it('listens on a Unix socket beside the rest', async () => {
    const path = join(directory, 'broker.sock')
    await using broker = await brokerOf({ ...httpAlone, unix: { path } })
    await broker.start()
    expect(broker.addresses[1]).toMatchObject({ host: path, port: 0 })
    await using client = await connect(broker.addresses[1].url)
    expect(await client.listTopics()).toEqual([])
  })

  it('keeps messages in the directory of disk storage', async () => {
    const config = { ...httpAlone, storage: { kind: 'disk', directory: join(directory, 'data') } }
    {
      await using broker = await brokerOf(config)
      await broker.start()
      await using client = await clientOf(broker)
      await client.createTopic('orders')
      await client.publish('orders', 'kept')
    }
    await using again = await brokerOf(config)
    await again.start()
    await using client = await clientOf(again)
    expect((await client.topicStats('orders')).messageCount).toBe(1)
  })

  it('applies limits, topic defaults and that topics are not made by publishing', async () => {
    await using broker = await brokerOf({
      ...httpAlone,
      limits: { topicsMax: 1 },
      topics: { autoCreate: false, defaults: { partitions: 3 } },
    })
    await broker.start()
    await using client = await clientOf(broker)
    await expect(client.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
    expect((await client.createTopic('orders')).topic.partitions).toHaveLength(3)
    await expect(client.createTopic('more')).rejects.toMatchObject({
      code: 'RTK_LIMIT_EXCEEDED',
    })
  })

  it('knows the holders of tokens, given or in a file, and nobody else', async () => {
    const tokenFile = join(directory, 'token')
    await writeFile(tokenFile, `${token}-of-file\n`)
    const allow = [{ actions: ['*'] }]
    await using broker = await brokerOf({
      ...httpAlone,
      auth: {
        tokens: [
          { name: 'given', token, allow },
          { name: 'filed', tokenFile, allow },
        ],
      },
    })
    await broker.start()
    const listing = async (bearer: string) => {
      await using client = await connect(broker.addresses[0].url, {
        credentials: { kind: 'bearer', token: bearer },
        reconnect: false,
      })
      return await client.listTopics()
    }
    expect([await listing(token), await listing(`${token}-of-file`)]).toEqual([[], []])
    await expect(listing('somebody-else-entirely')).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
  })

  it.each([
    ['neither', {}, '"reader" needs either token or tokenFile'],
    ['both', { token, tokenFile: 'token' }, '"reader" needs either token or tokenFile'],
    ['a file that is not there', { tokenFile: '/nowhere/token' }, 'the tokenFile of "reader" cannot be read'],
  ])('refuses a token with %s, and does not show it', async (_case, secret, told) => {
    const refused = await brokerOf({ auth: { tokens: [{ name: 'reader', allow: [], ...secret }] } }).catch(
      (error: Error) => error,
    )
    expect(refused).toMatchObject({ code: 'RTK_CONFIG_INVALID', message: expect.stringContaining(told) })
    expect((refused as Error).message).not.toMatch(new RegExp(`${token}|/nowhere`))
  })

  it('writes an audit log when asked to', async () => {
    const file = join(directory, 'audit.jsonl')
    {
      await using broker = await brokerOf({ ...httpAlone, audit: { enabled: true, file } })
      await broker.start()
      await using client = await clientOf(broker)
      await client.createTopic('audited')
    }
    expect(await readFile(file, 'utf8')).toContain('audited')
    expect(await verifyAuditLog(file)).toMatchObject({ valid: true })
  })

  it.each([true, false])('has metrics: %s', async (enabled) => {
    await using broker = await brokerOf({ ...httpAlone, metrics: { enabled } })
    await broker.start()
    const removed = broker.removePlugin('metrics')
    await (enabled ? removed : expect(removed).rejects.toBeInstanceOf(RatatoskrError))
  })
})
