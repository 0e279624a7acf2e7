/** A broker on doubles and a manual clock, with the real delivery, for tests of the application ring. */
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import {
  BatchBuilder,
  type Durability,
  type Grants,
  type Limits,
  type Metrics,
  makeLimits,
  type OutgoingMessage,
  type Platform,
  portableCrc32c,
  type Session,
  type Transport,
  toRatatoskrError,
  utf8,
} from '../../ports/index.ts'
import { Broker } from '../broker.ts'
import type { BrokerSettings } from '../broker-options.ts'
import { createDelivery } from '../delivery/index.ts'
import { HooksDouble } from './hooks-double.ts'
import { LogStoreDouble } from './log-store-double.ts'
import { StateStoreDouble } from './state-store-double.ts'

export interface BenchOptions {
  readonly limits?: Partial<Limits>
  readonly settings?: Partial<BrokerSettings>
  readonly transports?: readonly Transport[]
  readonly durability?: readonly Durability[]
  readonly timeIndex?: boolean
  readonly allows?: Grants['allows']
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: unknown
}

export class BrokerBench {
  readonly clock = new ManualClock()
  readonly hooks = new HooksDouble()
  readonly logs: LogStoreDouble
  readonly state = new StateStoreDouble()
  readonly lines: LogLine[] = []
  readonly counted: string[] = []
  readonly platform: Platform
  readonly limits: Limits
  readonly options: BenchOptions
  /** What the authorizer says; may be changed while sessions are open. */
  allows: Grants['allows']
  broker: Broker

  constructor(options: BenchOptions = {}) {
    this.options = options
    this.limits = makeLimits(options.limits)
    this.allows = options.allows ?? (() => true)
    this.logs = new LogStoreDouble({
      durability: options.durability ?? ['memory'],
      timeIndex: options.timeIndex ?? true,
    })
    this.platform = this.#makePlatform()
    this.broker = this.makeBroker()
  }

  /** A new broker on the same stores: what a new process is. */
  makeBroker(settings: Partial<BrokerSettings> = {}): Broker {
    const { hooks, logs, state, platform, limits, options } = this
    return new Broker({
      storage: { logs, state },
      transports: options.transports ?? [],
      plugins: hooks,
      delivery: createDelivery({ platform, limits, hooks, stateStore: state }),
      platform,
      limits,
      metrics: this.#metrics(),
      authenticator: {
        requiresCredentials: true,
        authenticate: async (_peer, credentials) => {
          if (credentials.kind === 'bearer') return { name: credentials.token, namespace: 'default' }
          throw new Error('secret detail of the authenticator')
        },
      },
      authorizer: { grants: async () => ({ allows: (action, resource) => this.allows(action, resource) }) },
      settings: { ...options.settings, ...settings },
    })
  }

  async start(): Promise<Session> {
    await this.broker.start()
    return this.broker.connectEmbedded()
  }

  /** A session of somebody whom the authorizer is asked about. */
  connect(name = 'alice'): Promise<Session> {
    const peer = { transport: 'double', address: '127.0.0.1:9', local: true, encrypted: false }
    return this.broker.facade.connect(peer, { kind: 'bearer', token: name })
  }

  logged(message: string): readonly LogLine[] {
    return this.lines.filter((line) => line.message.includes(message))
  }

  #makePlatform(): Platform {
    const log =
      (level: string) =>
      (message: string, fields?: unknown): void =>
        void this.lines.push({ level, message, fields })
    const logger = {
      debug: log('debug'),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      child: () => logger,
    }
    let ids = 0
    let seed = 1
    return {
      clock: this.clock,
      logger,
      checksum: portableCrc32c,
      compression: new Map(),
      random: {
        fill: (bytes) => {
          for (let i = 0; i < bytes.length; i++) {
            seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
            bytes[i] = seed >>> 16
          }
          return bytes
        },
        next: () => 0.5,
        uuid: () => `${String(++ids).padStart(8, '0')}-0000-4000-8000-000000000000`,
      },
    }
  }

  #metrics(): Metrics {
    return {
      counter: (name, labels) => ({ add: () => void this.counted.push(`${name} ${labels?.kind}`) }),
      histogram: () => ({ record: () => {} }),
      gauge: () => ({ [Symbol.dispose]: () => {} }),
    }
  }
}

export const message = (text: string, fields: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  payload: utf8(text),
  ...fields,
})

/** A batch as a producer makes it. */
export function batchOf(texts: readonly string[], timestampMs = 0): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs })
  return builder.build()
}

/** The code that a call failed with, thrown or rejected; undefined when it did not fail. */
export async function codeOf(call: () => unknown): Promise<string | undefined> {
  try {
    await call()
    return undefined
  } catch (error) {
    return toRatatoskrError(error).code
  }
}

/** Resolves when everything that waits for no I/O and no timer has happened. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
