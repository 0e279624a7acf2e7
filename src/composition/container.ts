/**
 * The one place that knows how a broker's parts fit together, and the only one that imports tsyringe.
 *
 * Every part is registered by a token with a factory, one child container a broker: no decorators, no classes registered
 * bare (those would be made anew at each resolve), nothing in the global container. The broker owns start and stop; the
 * container only makes things.
 */
import 'reflect-metadata/lite'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { type DependencyContainer, instanceCachingFactory, container as root } from 'tsyringe'
import { createDelivery } from '../application/delivery/index.ts'
import { Broker, WorkerBroker, type WorkerThreads } from '../application/index.ts'
import { PluginHost } from '../application/plugins/index.ts'
import type { Delivery } from '../application/seams.ts'
import { allowAllAuthorizer, anonymousAuthenticator } from '../application/security/index.ts'
import type {
  Authenticator,
  Authorizer,
  Limits,
  Metrics,
  Platform,
  Stores,
  Transport,
} from '../ports/index.ts'
import { makeLimits } from '../ports/index.ts'
import type { BrokerOptions } from './broker-options.ts'
import { noMetrics } from './no-metrics.ts'

/** A token and the type of what it stands for. */
export interface Token<T> {
  readonly symbol: symbol
  readonly type?: T
}
const token = <T>(name: string): Token<T> => ({ symbol: Symbol(name) })

export const tokens = {
  platform: token<Platform>('Platform'),
  limits: token<Limits>('Limits'),
  stores: token<Stores>('Stores'),
  metrics: token<Metrics>('Metrics'),
  authenticator: token<Authenticator>('Authenticator'),
  authorizer: token<Authorizer>('Authorizer'),
  plugins: token<PluginHost>('PluginHost'),
  delivery: token<Delivery>('Delivery'),
  transports: token<readonly Transport[]>('Transports'),
  broker: token<Broker>('Broker'),
  worker: token<WorkerBroker>('WorkerBroker'),
}

/** The parts of one broker, made when they are first asked for, each once. */
export class Parts {
  readonly #container: DependencyContainer = root.createChildContainer()

  get<T>(wanted: Token<T>): T {
    return this.#container.resolve<T>(wanted.symbol)
  }

  bind<T>(wanted: Token<T>, make: () => T): void {
    this.#container.register<T>(wanted.symbol, { useFactory: instanceCachingFactory(make) })
  }
}

/** Binds everything that a broker needs for `options`. @param threads runs its other workers */
export function partsOf(options: BrokerOptions, threads?: WorkerThreads): Parts {
  const parts: Parts = sharedParts(options, () => parts.get(tokens.broker))
  parts.bind(tokens.transports, () => options.transports ?? [])
  parts.bind(
    tokens.broker,
    () =>
      new Broker({
        ...appliedParts(parts, options),
        transports: parts.get(tokens.transports),
        workers: threads,
      }),
  )
  return parts
}

/** What makes a worker of a broker that is more than one event loop. */
export interface WorkerPlace {
  readonly index: number
  readonly count: number
  /** The transports, for the ports that the controller listens on. */
  transports(ports: readonly number[]): Promise<readonly Transport[]>
}

/** Binds everything that one worker of a broker needs. */
export function workerPartsOf(options: BrokerOptions, place: WorkerPlace): Parts {
  const parts: Parts = sharedParts(options, () => parts.get(tokens.worker))
  parts.bind(tokens.worker, () => new WorkerBroker({ ...appliedParts(parts, options), ...place }))
  return parts
}

/** What a broker and its workers have alike. @param broker asked when a plugin asks, which is after it was made */
function sharedParts(options: BrokerOptions, broker: () => Pick<Broker, 'stats' | 'health'>): Parts {
  const parts = new Parts()
  parts.bind(tokens.platform, () => nodePlatform(options.platform))
  parts.bind(tokens.limits, () => makeLimits(options.limits))
  parts.bind(tokens.metrics, () => options.metrics ?? noMetrics)
  parts.bind(tokens.authenticator, () => options.security?.authenticator ?? anonymousAuthenticator)
  parts.bind(tokens.authorizer, () => options.security?.authorizer ?? allowAllAuthorizer)
  parts.bind(tokens.stores, () => options.storage.open(parts.get(tokens.platform)))
  parts.bind(
    tokens.plugins,
    () =>
      new PluginHost({
        plugins: options.plugins ?? [],
        platform: parts.get(tokens.platform),
        metrics: parts.get(tokens.metrics),
        limits: parts.get(tokens.limits),
        stats: () => broker().stats(),
        health: () => broker().health(),
      }),
  )
  parts.bind(tokens.delivery, () =>
    createDelivery({
      platform: parts.get(tokens.platform),
      limits: parts.get(tokens.limits),
      hooks: parts.get(tokens.plugins),
      stateStore: parts.get(tokens.stores).state,
    }),
  )
  return parts
}

const appliedParts = (parts: Parts, options: BrokerOptions) => ({
  storage: parts.get(tokens.stores),
  plugins: parts.get(tokens.plugins),
  delivery: parts.get(tokens.delivery),
  platform: parts.get(tokens.platform),
  limits: parts.get(tokens.limits),
  metrics: parts.get(tokens.metrics),
  authenticator: parts.get(tokens.authenticator),
  authorizer: parts.get(tokens.authorizer),
  settings: settingsOf(options),
})

/** What the application takes beside the parts; keys that are not given keep its defaults. */
function settingsOf({ autoCreateTopics, topicDefaults, verifyRecords, retentionIntervalMs }: BrokerOptions) {
  const given = { autoCreateTopics, topicDefaults, verifyRecords, retentionIntervalMs }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}
