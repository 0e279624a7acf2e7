/**
 * The HTTP transport: fastify with the routes of this folder, OpenAPI 3.1 at /openapi.json, problem+json for errors.
 * fastify is loaded only here, so that whoever does without HTTP does without it.
 */
import type { AddressInfo, Socket } from 'node:net'
import swagger from '@fastify/swagger'
import { Ajv } from 'ajv'
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import {
  assertBindAllowed,
  type BoundAddress,
  type BrokerFacade,
  isLocalHost,
  parseJson,
  RatatoskrError,
  type Transport,
  type TransportSupervision,
  type TransportSupports,
} from 'ratatoskr/ports'
import { assertBrowserAllowed, assertHeadersAllowed } from './guards.ts'
import { openApiDocument } from './openapi.ts'
import { errorOfThrown, problemOf } from './problem.ts'
import { groupRoutes } from './routes/groups.ts'
import { healthRoutes } from './routes/health.ts'
import { messageRoutes } from './routes/messages.ts'
import { subscribeRoutes } from './routes/subscribe.ts'
import { topicRoutes } from './routes/topics.ts'
import { Sessions } from './sessions.ts'
import { Streams } from './streams.ts'

/** Where the HTTP transport listens, and whom it lets in. */
export interface HttpTransportOptions {
  /** 8080 by default; 0 takes any free port. */
  readonly port?: number
  /** Loopback by default. */
  readonly host?: string
  /** Listen beyond loopback although nobody is asked for credentials. */
  readonly insecure?: boolean
  /** Origins of web pages that may call, such as `https://console.example`. None by default: other programs need none. */
  readonly allowedOrigins?: readonly string[]
  /** Server-sent events: a comment is sent when nothing else was for so long. 15 s by default. */
  readonly heartbeatMs?: number
  /** A TLS key and certificate in PEM. */
  readonly tls?: { readonly key: string; readonly cert: string }
}

/** Paths and queries are text, which may stand for numbers. A body has types of its own: in it a null is no 0. */
const textual = new Ajv({ useDefaults: true, coerceTypes: 'array' })
const typed = new Ajv({ useDefaults: true })

const supports: TransportSupports = Object.freeze({
  batches: true,
  push: true,
  credit: false,
  groups: true,
  administration: true,
  binary: true,
})

/** Makes the HTTP transport. */
export const httpTransport = (options: HttpTransportOptions = {}): Transport => new HttpTransport(options)

/** What routes need of the transport. */
export interface RouteContext {
  readonly broker: BrokerFacade
  readonly sessions: Sessions
  readonly heartbeatMs: number
  readonly streams: Streams
}

class HttpTransport implements Transport {
  readonly name = 'http'
  readonly supports = supports
  readonly #options: HttpTransportOptions
  #server: FastifyInstance | undefined
  #sessions: Sessions | undefined
  #streams = new Streams()
  #address: BoundAddress | undefined

  constructor(options: HttpTransportOptions) {
    this.#options = options
  }

  get address(): BoundAddress | undefined {
    return this.#address
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    if (this.#address !== undefined) return this.#address
    const { host = '127.0.0.1', port = 8080, insecure = false, tls } = this.#options
    assertBindAllowed(host, { insecure, authenticator: broker.authenticator })
    this.#streams = new Streams()
    this.#sessions = new Sessions(broker, this.name)
    const server = await this.#build(broker, this.#sessions)
    try {
      await server.listen({ host, port })
    } catch (error) {
      await server.close()
      throw listenError(error, host, port)
    }
    server.server.on('error', (cause) => {
      supervision.failed(new RatatoskrError('RTK_UNAVAILABLE', 'the HTTP listener failed', { cause }))
    })
    this.#server = server
    const bound = (server.server.address() as AddressInfo).port
    const shown = host.includes(':') ? `[${host}]` : host
    this.#address = { host, port: bound, url: `${tls === undefined ? 'http' : 'https'}://${shown}:${bound}` }
    return this.#address
  }

  async stop(deadlineMs: number): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    this.#address = undefined
    const streamsEnded = this.#streams.closeAll()
    const timer = setTimeout(() => server.server.closeAllConnections(), deadlineMs)
    await streamsEnded
    await server.close()
    clearTimeout(timer)
    await this.#sessions?.close()
  }

  async #build(broker: BrokerFacade, sessions: Sessions): Promise<FastifyInstance> {
    const { limits } = broker
    const { tls, allowedOrigins = [], heartbeatMs = 15_000, host = '127.0.0.1' } = this.#options
    const server = fastify({
      ...(tls !== undefined && { https: tls }),
      bodyLimit: limits.batchBytesMax + 64 * 1024,
      requestTimeout: 30_000,
      connectionTimeout: 0,
      keepAliveTimeout: 65_000,
      forceCloseConnections: 'idle',
      routerOptions: { maxParamLength: 512 },
    }) as unknown as FastifyInstance
    server.setValidatorCompiler(({ schema, httpPart }) =>
      (httpPart === 'body' ? typed : textual).compile(schema as object),
    )
    server.server.maxHeadersCount = 200
    server.setErrorHandler((error: FastifyError, request, reply) =>
      replyWithProblem(broker, error, request, reply),
    )
    server.setNotFoundHandler((request, reply) => {
      const missing = new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `no route ${request.method} here; see /openapi.json`,
      )
      return sendProblem(reply, { ...problemOf(missing), status: 404 })
    })
    server.addHook('onRequest', async (request) => {
      assertHeadersAllowed(request.raw)
      assertBrowserAllowed(request.raw, { allowedOrigins, loopback: isLocalHost(host), broker })
    })
    readBodies(server, limits.jsonDepthMax)
    await server.register(swagger, { openapi: openApiDocument })
    const context: RouteContext = { broker, sessions, heartbeatMs, streams: this.#streams }
    await server.register(async (routes) => {
      for (const add of [healthRoutes, topicRoutes, messageRoutes, subscribeRoutes, groupRoutes])
        add(routes, context)
    })
    await server.ready()
    return server
  }
}

/** JSON within the depth limit, anything else as bytes. */
function readBodies(server: FastifyInstance, depthMax: number): void {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, body: Buffer) => parseJson(body, { depthMax }),
  )
  server.addContentTypeParser(
    '*',
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, body: Buffer) => body,
  )
}

function replyWithProblem(
  broker: BrokerFacade,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const error = errorOfThrown(thrown)
  if (error.kind === 'internal') {
    broker.platform.logger.error('http request failed', { route: request.routeOptions.url, error: thrown })
  }
  if (error.kind === 'unauthenticated') reply.header('www-authenticate', 'Bearer')
  if (error.kind === 'limit' && error.retryable) reply.header('retry-after', '1')
  return sendProblem(reply, problemOf(error))
}

const sendProblem = (reply: FastifyReply, problem: ReturnType<typeof problemOf>): FastifyReply =>
  reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem))

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

/** The session of a request. */
export const sessionOf = (context: RouteContext, request: FastifyRequest) =>
  context.sessions.of({ socket: request.raw.socket as Socket, authorization: request.headers.authorization })
