/** Connecting, without knowing links or platforms: what the entries for Node and for browsers share. */
import {
  type Credentials,
  type Limits,
  makeLimits,
  type Platform,
  quoteForMessage,
  RatatoskrError,
} from '../ports/index.ts'
import { type ClientCallOptions, checkTimeoutMs, withDeadline } from './call.ts'
import { Client } from './client.ts'
import { Connection, type ConnectionOptions, type ReconnectOptions } from './connection.ts'
import { ConnectionPool, connectionsOf } from './connection-pool.ts'
import { connectOptions, knownOptions } from './known-options.ts'
import type { OpenLink } from './link.ts'

/** Options of every client, also of one in the broker's process. */
export interface ClientOptions {
  /** Default deadline of each call, in milliseconds. */
  readonly timeoutMs?: number | undefined
  /** Bounds that the client holds its own messages and queues to; the broker holds to its own. */
  readonly limits?: Partial<Limits> | undefined
}

/** Options of `connect`. */
export interface ConnectOptions extends ClientOptions, ClientCallOptions {
  readonly credentials?: Credentials | undefined
  /**
   * How many connections to open, 1 by default. Producers and subscriptions are spread over them, each stays on one; single calls go
   * over the first. One that is lost, or full, touches only what is on it, and comes back by itself; when one is given up the
   * client ends. All that a client does also goes over one: more are for several cores of a broker with workers, and for streams
   * that must not wait for each other.
   */
  readonly connections?: number | undefined
  /** How a lost connection is replaced: endlessly by default; `false` ends the client. */
  readonly reconnect?: ReconnectOptions | false | undefined
  /** How long one attempt may take; the default deadline of a call otherwise. */
  readonly connectTimeoutMs?: number | undefined
  /** Largest frame to accept from the broker, in bytes. */
  readonly frameBytesMax?: number | undefined
  /** Opens links in a way of its own, whatever the scheme of the URL: over another protocol, or a simulated network. */
  readonly openLink?: OpenLink | undefined
  /** Clock, randomness, checksums, codecs and log of the client; those of the platform otherwise. */
  readonly platform?: Platform | undefined
}

const MIB = 1024 * 1024

/** Connects through the link that `linkOf` gives for each URL. */
export async function connectWith(
  linkOf: (url: URL) => Promise<OpenLink>,
  urls: string | readonly string[],
  options: ConnectOptions,
  platform: Platform,
): Promise<Client> {
  knownOptions('connect', options, connectOptions)
  const addresses = (typeof urls === 'string' ? [urls] : urls).map(parseUrl)
  if (addresses.length === 0)
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'connect needs at least one URL')
  const { openLink } = options
  const openers = await Promise.all(addresses.map((url) => openLink ?? linkOf(url)))
  const first = Math.floor(platform.random.next() * addresses.length)
  const { credentials = { kind: 'none' }, frameBytesMax = 64 * MIB } = options
  return clientOver(
    (signal, attempt) => {
      const index = (first + attempt) % addresses.length
      return openers[index](addresses[index], { credentials, platform, signal, frameBytesMax })
    },
    addresses.length,
    options,
    platform,
  )
}

/** A client over whatever `open` opens. */
export async function clientOver(
  open: ConnectionOptions['open'],
  firstAttempts: number,
  options: ConnectOptions,
  platform: Platform,
): Promise<Client> {
  const limits = makeLimits(options.limits)
  const timeoutMs = checkTimeoutMs(options.timeoutMs, limits.callTimeoutMs)
  const count = connectionsOf(options.connections)
  const connectionOptions: ConnectionOptions = {
    open,
    firstAttempts,
    clock: platform.clock,
    random: platform.random,
    logger: platform.logger,
    reconnect: options.reconnect ?? {},
    connectTimeoutMs: checkTimeoutMs(options.connectTimeoutMs, limits.callTimeoutMs),
    waitingMax: limits.requestsInFlightMax,
  }
  const pool = await withDeadline(platform.clock, 'connect', options, timeoutMs, (signal) =>
    ConnectionPool.open(count, () => Connection.open(connectionOptions, signal)),
  )
  return new Client({ connection: pool.first, platform, limits, timeoutMs }, pool)
}

function parseUrl(text: string): URL {
  const url = typeof text === 'string' ? URL.parse(text) : null
  if (url !== null) return url
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `a broker is named by a URL such as ws://127.0.0.1:8081, got ${quoteForMessage(text)}`,
  )
}
