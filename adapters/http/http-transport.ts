/** The HTTP transport: starts and stops the server of server.ts with the sessions and streams that belong to it. */
import { lookup } from 'node:dns/promises'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import {
  assertBindAllowed,
  type BoundAddress,
  type BrokerFacade,
  type Clock,
  isLocalHost,
  RatatoskrError,
  type Transport,
  type TransportSupervision,
  type TransportSupports,
} from 'ratatoskr/ports'
import { buildServer } from './server.ts'
import { Sessions } from './sessions.ts'
import { Streams } from './streams.ts'

/** Where the HTTP transport listens, and whom it lets in. */
export interface HttpTransportOptions {
  /** 8080 by default; 0 takes any free port. */
  readonly port?: number | undefined
  /** Loopback by default. */
  readonly host?: string | undefined
  /** Listen beyond loopback although nobody is asked for credentials. */
  readonly insecure?: boolean | undefined
  /** Origins of web pages that may call, such as `https://console.example`; `*` for every page. None by default. */
  readonly allowedOrigins?: readonly string[] | undefined
  /** Time between the signs of life on a subscription. 15 s by default. */
  readonly heartbeatMs?: number | undefined
  /** How long the headers of a request may take to arrive. 15 s by default. */
  readonly headersTimeoutMs?: number | undefined
  /** How long a whole request may take to arrive; answers may take longer. 5 minutes by default. */
  readonly requestTimeoutMs?: number | undefined
  /** A TLS key and certificate in PEM. */
  readonly tls?: { readonly key: string; readonly cert: string } | undefined
}

const supports: TransportSupports = Object.freeze({
  batches: true,
  push: true,
  credit: true,
  groups: true,
  administration: true,
  binary: true,
})

/** Makes the HTTP transport. */
export const httpTransport = (options: HttpTransportOptions = {}): Transport => new HttpTransport(options)

/** What exists while the transport is started. */
interface Running {
  readonly server: FastifyInstance
  readonly sessions: Sessions
  readonly streams: Streams
  readonly stopping: AbortController
  readonly clock: Clock
}

class HttpTransport implements Transport {
  readonly name = 'http'
  readonly supports = supports
  readonly #options: HttpTransportOptions
  #running: Promise<Running> | undefined
  #stopped: Promise<void> = Promise.resolve()
  #address: BoundAddress | undefined

  constructor(options: HttpTransportOptions) {
    this.#options = options
  }

  get address(): BoundAddress | undefined {
    return this.#address
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    const running = (this.#running ??= this.#open(broker, supervision))
    try {
      const { server } = await running
      if (this.#running !== running)
        throw new RatatoskrError('RTK_UNAVAILABLE', 'the HTTP transport was stopped while it started')
      this.#address ??= this.#addressOf(server)
      return this.#address
    } catch (error) {
      if (this.#running === running) this.#running = undefined
      throw error
    }
  }

  stop(deadlineMs: number): Promise<void> {
    const running = this.#running
    if (running === undefined) return this.#stopped
    this.#running = undefined
    this.#address = undefined
    this.#stopped = running.then(
      (opened) => closeWithin(opened, deadlineMs),
      () => undefined, // the caller of start is told
    )
    return this.#stopped
  }

  async #open(broker: BrokerFacade, supervision: TransportSupervision): Promise<Running> {
    const { host = '127.0.0.1', port = 8080, insecure = false, tls, allowedOrigins = [] } = this.#options
    const { heartbeatMs = 15_000, headersTimeoutMs = 15_000, requestTimeoutMs = 300_000 } = this.#options
    const { authenticator } = broker
    assertBindAllowed(host, { insecure, authenticator })
    await this.#stopped
    const streams = new Streams()
    const sessions = new Sessions(broker, this.name)
    const stopping = new AbortController()
    const server = await buildServer({
      context: { broker, sessions, streams, heartbeatMs, stopping: stopping.signal },
      browsers: { allowedOrigins, loopbackOnly: isLocalHost(host) && !authenticator.requiresCredentials },
      tls,
      headersTimeoutMs,
      requestTimeoutMs,
    })
    try {
      await server.listen({ port, host: await addressToBind(host) })
    } catch (error) {
      await server.close()
      throw listenError(error, host, port)
    }
    server.server.on('error', (cause) => {
      supervision.failed(new RatatoskrError('RTK_UNAVAILABLE', 'the HTTP listener failed', { cause }))
    })
    return { server, sessions, streams, stopping, clock: broker.platform.clock }
  }

  #addressOf({ server }: FastifyInstance): BoundAddress {
    const { host = '127.0.0.1', tls } = this.#options
    const { port } = server.address() as AddressInfo
    const shown = host.includes(':') ? `[${host}]` : host
    return { host, port, url: `${tls === undefined ? 'http' : 'https'}://${shown}:${port}` }
  }
}

/** Lets what is in flight finish until the deadline, then cuts it. */
async function closeWithin(running: Running, deadlineMs: number): Promise<void> {
  const { server, sessions, streams, stopping, clock } = running
  const deadline = clock.after(deadlineMs, () => server.server.closeAllConnections())
  stopping.abort()
  await Promise.all([server.close(), streams.closeAll()])
  deadline[Symbol.dispose]()
  await sessions.close()
}

/** fastify would open one listener for each address of `localhost`, and only the first could be asked or closed. */
const addressToBind = async (host: string): Promise<string> =>
  host === 'localhost' ? (await lookup(host)).address : host

function listenError(cause: unknown, host: string, port: number): RatatoskrError {
  const code = (cause as NodeJS.ErrnoException).code
  if (code === 'EADDRINUSE') {
    return new RatatoskrError(
      'RTK_ADDRESS_IN_USE',
      `HTTP cannot listen on ${host} port ${port}: it is taken; choose another port, or 0 for any`,
      { cause },
    )
  }
  return new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `HTTP cannot listen on ${host} port ${port}: ${code ?? 'unknown reason'}`,
    { cause },
  )
}
