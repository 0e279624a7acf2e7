/**
 * Transports that are wrong on purpose: a good one, given a broker facade that spoils one thing, or started and stopped
 * wrongly. Each must fail the transport suite.
 */
import {
  type BrokerFacade,
  type Message,
  type MessageSink,
  RatatoskrError,
  type Session,
  type Subscription,
  type Transport,
  toRatatoskrError,
} from 'ratatoskr/ports'

export interface TransportMutant {
  readonly name: string
  /** The case of the suite that is meant to catch it, by name. */
  readonly caughtBy: string
  mutate(transport: Transport): Transport
}

/** The same object with some members replaced. Private state stays with the original, which may be frozen. */
function override<T extends object>(original: T, changes: Partial<T>): T {
  return new Proxy({} as T, {
    get(_, name) {
      if (Object.hasOwn(changes, name)) return changes[name as keyof T]
      const value = Reflect.get(original, name, original) as unknown
      return typeof value === 'function' ? value.bind(original) : value
    },
    has: (_, name) => name in original,
  })
}

const withFacade = (transport: Transport, mutate: (facade: BrokerFacade) => BrokerFacade): Transport =>
  override(transport, { start: (broker, supervision) => transport.start(mutate(broker), supervision) })

const withSession =
  (changes: (session: Session) => Partial<Session>) =>
  (transport: Transport): Transport =>
    withFacade(transport, (facade) =>
      override(facade, {
        connect: async (peer, credentials) => {
          const session = await facade.connect(peer, credentials)
          return override(session, changes(session))
        },
      }),
    )

/** Spoils what a subscription is given and what it does. */
const withSubscription = (
  mutateSink: (sink: MessageSink) => MessageSink,
  mutateSubscription: (subscription: Subscription) => Subscription = (subscription) => subscription,
) =>
  withSession((session) => ({
    subscribeMessages: async (topic, options, sink) =>
      mutateSubscription(await session.subscribeMessages(topic, options, mutateSink(sink))),
  }))

const withMessage = (change: (message: Message) => Message) =>
  withSession((session) => ({
    publish: (topic, message, options) => session.publish(topic, change(message as Message), options),
  }))

const deliverTwice = (sink: MessageSink): MessageSink =>
  override(sink, {
    async deliver(message) {
      await sink.deliver(message)
      await sink.deliver(message)
    },
  })

function swapPairs(sink: MessageSink): MessageSink {
  let held: Message | undefined
  return override(sink, {
    async deliver(message) {
      if (held === undefined) {
        held = message
        return
      }
      const first = held
      held = undefined
      await sink.deliver(message)
      await sink.deliver(first)
    },
  })
}

/** Fails every operation with what `change` makes of its error. */
const withErrors = (change: (error: RatatoskrError) => RatatoskrError) =>
  withSession((session) =>
    Object.fromEntries(
      (
        [
          'publish',
          'describeTopic',
          'deleteTopic',
          'createTopic',
          'alterTopic',
          'subscribeMessages',
          'fetch',
        ] as const
      ).map((name) => [
        name,
        async (...args: unknown[]) => {
          try {
            return await (session[name] as (...args: unknown[]) => unknown)(...args)
          } catch (error) {
            throw change(toRatatoskrError(error))
          }
        },
      ]),
    ),
  )

/** Wrapped like a mutant, and changed in nothing: passes the suite, so that it is the fault that fails in the others. */
export const wrappedOnly = withSubscription(
  (sink) => override(sink, {}),
  (subscription) => override(subscription, {}),
)

export const transportMutants: readonly TransportMutant[] = [
  {
    name: 'drops the key',
    caughtBy: 'carries key, headers, id, timestamp and payload byte for byte',
    mutate: withMessage((message) => ({ ...message, key: undefined })),
  },
  {
    name: 'loses the last header',
    caughtBy: 'carries key, headers, id, timestamp and payload byte for byte',
    mutate: withMessage((message) => ({ ...message, headers: message.headers.slice(0, -1) })),
  },
  {
    name: 'takes the payload for text',
    caughtBy: 'carries key, headers, id, timestamp and payload byte for byte',
    mutate: withMessage((message) => ({
      ...message,
      payload: Buffer.from(Buffer.from(message.payload).toString('utf8')),
    })),
  },
  {
    name: 'forgets that a message expires',
    caughtBy:
      'carries when a message expires: a moment as it is, a time to live from now by the clock of the broker',
    mutate: withSession((session) => ({
      publish: (topic, { ttlMs: _, expiresAtMs: __, ...message }, options) =>
        session.publish(topic, message, options),
    })),
  },
  {
    name: 'publishes at once what is for later',
    caughtBy: 'keeps a message until it is due, and gives it as it was published',
    mutate: withSession((session) => ({
      publish: (topic, { deliverAtMs: _, delayMs: __, ...message }, options) =>
        session.publish(topic, message, options),
    })),
  },
  {
    name: 'takes any time of delivery',
    caughtBy: 'refuses times of delivery that make no sense',
    mutate: withSession((session) => ({
      publish: (topic, { delayMs: _, ...message }, options) => session.publish(topic, message, options),
    })),
  },
  {
    name: 'says that it took back what it did not',
    caughtBy: 'lists what waits, page by page, and takes back what is asked for',
    mutate: withSession(() => ({ cancelScheduled: async () => true })),
  },
  {
    name: 'begins every page of what waits at the beginning',
    caughtBy: 'lists what waits, page by page, and takes back what is asked for',
    mutate: withSession((session) => ({
      listScheduled: (topic, request) => session.listScheduled(topic, { limit: request?.limit }),
    })),
  },
  {
    name: 'reads with another clock',
    caughtBy: 'gives nobody a message that has expired, and goes on behind it',
    mutate: (transport) =>
      withFacade(transport, (facade) => {
        const clock = override(facade.platform.clock, { now: () => 0 })
        return override(facade, { platform: override(facade.platform, { clock }) })
      }),
  },
  {
    name: 'gives receipts that are one off',
    caughtBy: 'gives a receipt with id, partition, offset and the durability reached',
    mutate: withSession((session) => ({
      publish: async (...args) => {
        const receipt = await session.publish(...args)
        return { ...receipt, offset: receipt.offset + 1 }
      },
    })),
  },
  {
    name: 'claims more durability than was reached',
    caughtBy: 'gives a receipt with id, partition, offset and the durability reached',
    mutate: withSession((session) => ({
      publish: async (...args) => ({ ...(await session.publish(...args)), durability: 'fsync' as const }),
    })),
  },
  {
    name: 'tells of a batch only when all of it failed',
    caughtBy: 'publishes many with a result for each',
    mutate: withSession((session) => ({
      publishMany: async (...args) =>
        (await session.publishMany(...args)).map((result, _, all) => ('error' in result ? all[0] : result)),
    })),
  },
  {
    name: 'delivers each message twice',
    caughtBy: 'pushes what is there and then what comes, in order',
    mutate: withSubscription(deliverTwice),
  },
  {
    name: 'swaps neighbours',
    caughtBy: 'pushes what is there and then what comes, in order',
    mutate: withSubscription(swapPairs),
  },
  {
    name: 'ignores credit',
    caughtBy: 'never pushes beyond the credit that was granted',
    mutate: withSession((session) => ({
      subscribeMessages: (topic, options, sink) =>
        session.subscribeMessages(topic, { ...options, credit: { messages: 1_000 } }, sink),
    })),
  },
  {
    name: 'says that a subscription is closed and leaves it open',
    caughtBy: 'counts messages and subscribers exactly',
    mutate: withSubscription(
      (sink) => sink,
      (subscription) => override(subscription, { close: async () => {} }),
    ),
  },
  {
    name: 'drops commits',
    caughtBy: 'shares the partitions of a group, and goes on at what was committed',
    mutate: withSubscription(
      (sink) => sink,
      (subscription) => override(subscription, { commit: async () => {} }),
    ),
  },
  {
    name: 'keeps the session of a peer who has gone',
    caughtBy: 'ends the session of a peer who hangs up',
    mutate: (transport) =>
      withSession(() => ({ close: async () => {} }))(
        withSubscription(
          (sink) => sink,
          (subscription) => override(subscription, { close: async () => {} }),
        )(transport),
      ),
  },
  {
    name: 'calls every failure internal',
    caughtBy: 'refuses what topics cannot be, by code',
    mutate: withErrors((error) => new RatatoskrError('RTK_INTERNAL', error.message)),
  },
  {
    name: 'shows the cause of a failure to the caller',
    caughtBy: 'leaks nothing of an internal failure to the caller',
    mutate: withErrors((error) => new RatatoskrError(error.code, `${error.message}: ${String(error.cause)}`)),
  },
  {
    name: 'lets everybody in as the administrator',
    caughtBy: 'tells principals apart, and hides from each what it may not see',
    mutate: (transport) =>
      withFacade(transport, (facade) =>
        override(facade, { connect: (peer) => facade.connect(peer, { kind: 'bearer', token: 'all-of-it' }) }),
      ),
  },
  {
    name: 'listens anywhere without authentication',
    caughtBy: 'refuses to listen beyond loopback without authentication, unless told insecure',
    mutate: (transport) =>
      withFacade(transport, (facade) =>
        override(facade, { authenticator: override(facade.authenticator, { requiresCredentials: true }) }),
      ),
  },
  {
    name: 'goes on listening after stop',
    caughtBy: 'stops twice without error, refuses connections then, and starts again',
    mutate: (transport) => {
      let stops = 0
      return override(transport, {
        stop: async (deadlineMs) => (++stops > 2 ? transport.stop(deadlineMs) : undefined),
      })
    },
  },
]
