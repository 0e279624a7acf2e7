/** Starting, stopping, binding, authenticating, and surviving bad peers. */
import { type Authenticator, type Authorizer, type BoundAddress, RatatoskrError } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode, within } from '../suite.ts'
import { Collector, settle, type TransportContext, textMessage } from './context.ts'

/** Knows two tokens: one may do everything, one may only read topics that begin with `open`. */
const security: { authenticator: Authenticator; authorizer: Authorizer } = {
  authenticator: {
    requiresCredentials: true,
    async authenticate(_peer, credentials) {
      if (credentials.kind === 'bearer' && ['all-of-it', 'read-only'].includes(credentials.token)) {
        return { name: credentials.token, namespace: 'default' }
      }
      throw new RatatoskrError('RTK_UNAUTHENTICATED', 'credentials are missing or wrong')
    },
  },
  authorizer: {
    async grants(principal) {
      if (principal.name === 'all-of-it') return { allows: () => true }
      const reads = ['topic:describe', 'topic:consume', 'topic:list']
      return {
        allows: (action, resource) =>
          reads.includes(action) && resource.kind === 'topic' && resource.name.startsWith('open'),
      }
    },
  },
}

export const lifecycleCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'tells its address while it is started, and only then',
    async run(context) {
      const transport = context.setup.make({ port: 0 })
      expect(transport.address).toBeUndefined()
      const { broker, transport: started } = await context.broker()
      const { host, port, url } = started.address as BoundAddress
      expect(port > 0 || host.startsWith('/'), 'a port, or the path of a Unix socket').toBe(true)
      expect(url).toMatch(/^[a-z]+:\S+$/)
      expect(broker.addresses).toContainEqual(started.address)
      await broker.stop()
      expect(started.address).toBeUndefined()
    },
  },
  {
    name: 'stops twice without error, refuses connections then, and starts again',
    async run(context) {
      const { broker, transport, connect } = await context.broker()
      const address = transport.address as BoundAddress
      await transport.stop(100)
      await transport.stop(100)
      await expectCode(() => within(context.setup.connect(address), 5_000, 'connecting'), 'RTK_DISCONNECTED')
      await broker.stop()
      await broker.start()
      expect(await (await connect()).topicExists('orders')).toBe(false)
    },
  },
  {
    name: 'refuses a port that is taken with RTK_ADDRESS_IN_USE',
    async run(context) {
      const { transport } = await context.broker()
      const taken = transport.address as BoundAddress
      await expectCode(
        () => context.broker({ transports: [context.setup.make({ port: taken.port, taken })] }),
        'RTK_ADDRESS_IN_USE',
      )
    },
  },
  {
    name: 'refuses to listen beyond loopback without authentication, unless told insecure',
    async run(context) {
      const open = context.setup.make({ host: '0.0.0.0', port: 0 })
      await expectCode(() => context.broker({ transports: [open] }), 'RTK_INSECURE_BIND')
      const { transport } = await context.broker({
        transports: [context.setup.make({ host: '0.0.0.0', port: 0, insecure: true })],
      })
      expect(transport).toBeDefined()
      await context.broker({ transports: [context.setup.make({ host: '0.0.0.0', port: 0 })], security })
    },
  },
  {
    name: 'tells principals apart, and hides from each what it may not see',
    async run(context) {
      const { connect } = await context.broker({ security })
      const refused = async (token?: string) => {
        const probe = await connect(token)
        await probe.listTopics() // where the protocol has no handshake, the first call is refused
      }
      await expectCode(() => refused(), 'RTK_UNAUTHENTICATED')
      await expectCode(() => refused('wrong'), 'RTK_UNAUTHENTICATED')
      const writer = await connect('all-of-it')
      await writer.createTopic('open.news')
      await writer.createTopic('secret')
      const reader = await connect('read-only')
      expect(await reader.listTopics()).toEqual(['open.news'])
      await expectCode(() => reader.describeTopic('secret'), 'RTK_PERMISSION_DENIED')
      await expectCode(() => reader.describeTopic('missing'), 'RTK_PERMISSION_DENIED')
      await expectCode(() => reader.publish('open.news', textMessage('x')), 'RTK_PERMISSION_DENIED')
      await expectCode(() => reader.deleteTopic('open.news'), 'RTK_PERMISSION_DENIED')
    },
  },
  {
    name: 'goes on serving others while a peer sends garbage',
    async run(context) {
      const { broker, transport, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      await within(context.setup.sendGarbage(transport.address as BoundAddress), 10_000, 'garbage')
      await probe.publish('orders', textMessage('still here'))
      expect(broker.health().status).toBe('ok')
      const other = await connect()
      expect((await other.topicStats('orders')).messageCount).toBe(1)
    },
  },
  {
    name: 'ends the session of a peer who hangs up',
    async run(context) {
      const { broker, connect } = await context.broker()
      const watcher = await connect()
      await watcher.createTopic('orders')
      const peer = await connect()
      await new Collector(peer, 'orders').subscription
      expect((await watcher.topicStats('orders')).subscriberCount).toBe(1)
      await peer.close()
      const left = async () => {
        while ((await watcher.topicStats('orders')).subscriberCount > 0) await settle(watcher, 'orders')
      }
      await within(left(), 5_000, 'the subscription of the peer')
      expect(broker.health().status).toBe('ok')
    },
  },
  {
    name: 'stops within its deadline although subscribers are connected, and tells them',
    async run(context) {
      const { broker, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const collector = new Collector(probe, 'orders')
      await collector.subscription
      await within(broker.stop(), 5_000, 'stopping')
      const reason = await within(collector.end, 5_000, 'the end of the subscription')
      expect(['RTK_UNAVAILABLE', 'RTK_DISCONNECTED']).toContain(reason?.code)
    },
  },
  {
    name: 'leaks nothing of an internal failure to the caller',
    async run(context) {
      const secret = 'EACCES /var/lib/secret-place password=hunter2'
      const plugin = {
        name: 'failing',
        setup(hooks: import('ratatoskr/ports').PluginContext) {
          hooks.before('publish', () => {
            throw new Error(secret)
          })
        },
      }
      const { connect } = await context.broker({ plugins: [plugin] })
      const probe = await connect()
      await probe.createTopic('orders')
      const error = await probe.publish('orders', textMessage('x')).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(RatatoskrError)
      expect((error as RatatoskrError).code).toBe('RTK_HOOK_ERROR')
      const shown = `${(error as RatatoskrError).message} ${JSON.stringify((error as RatatoskrError).details)}`
      expect(shown).not.toMatch(/secret-place|hunter2|EACCES|node_modules|\.ts:/)
    },
  },
]
