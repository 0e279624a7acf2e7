/**
 * The fastify server: what every request passes before its route, how bodies and queries are read, and how errors are
 * answered. fastify is loaded only here, so that whoever does without HTTP does without it.
 */
import type { Socket } from 'node:net'
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type RouteOptions,
} from 'fastify'
import { parseJson, RatatoskrError } from 'ratatoskr/ports'
import { allowPage, assertBrowserAllowed, assertHeadersAllowed, type BrowserRules } from './guards.ts'
import { collectRoutes, openApiRoute } from './openapi.ts'
import { turnOf } from './pipeline.ts'
import { errorOfThrown, problemOf, refuseOnSocket, sendProblem } from './problem.ts'
import type { RouteContext } from './route-context.ts'
import { deadLetterRoutes } from './routes/dead-letters.ts'
import { groupRoutes } from './routes/groups.ts'
import { healthRoutes } from './routes/health.ts'
import { messageRoutes } from './routes/messages.ts'
import { profileRoutes } from './routes/profile.ts'
import { queueRoutes } from './routes/queues.ts'
import { scheduledRoutes } from './routes/scheduled.ts'
import { subscribeRoutes } from './routes/subscribe.ts'
import { topicRoutes } from './routes/topics.ts'
import { lazyCompilers } from './schema-compilers.ts'
import { problemResponse } from './schemas.ts'

export interface ServerOptions {
  readonly context: RouteContext
  readonly browsers: BrowserRules
  readonly tls: { readonly key: string; readonly cert: string } | undefined
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route takes bodies of any content type. */
    readonly bytes?: boolean
  }
}

const bodyRoomBytes = 64 * 1024 // what surrounds a batch in a body
const headerBytesMax = 16 * 1024
const keepAliveTimeoutMs = 65_000 // longer than the 60 s of common load balancers, so that they close first

/** Makes a server that is ready to listen. */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const { context } = options
  const server = makeServer(options)
  server.setErrorHandler((error: FastifyError, request, reply) => answerError(context, error, request, reply))
  server.setNotFoundHandler((request, reply) => {
    const error = new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `no route for ${request.method} here; see /openapi.json`,
    )
    return sendProblem(reply, { ...problemOf(error), status: 404 })
  })
  addHooks(server, options)
  readBodies(server, context.broker.limits.jsonDepthMax)
  const methods = collectMethods(server)
  const described = collectRoutes(server)
  await server.register(async (routes) => {
    addRoutes(routes, context)
    openApiRoute(routes, described)
    answerOtherMethods(routes, methods)
  })
  await server.ready()
  return server
}

/** Adds the routes of the API. */
export function addRoutes(routes: FastifyInstance, context: RouteContext): void {
  for (const add of [
    healthRoutes,
    profileRoutes,
    topicRoutes,
    messageRoutes,
    scheduledRoutes,
    subscribeRoutes,
    groupRoutes,
    queueRoutes,
    deadLetterRoutes,
  ])
    add(routes, context)
}

function makeServer({ context, tls, headersTimeoutMs, requestTimeoutMs }: ServerOptions): FastifyInstance {
  const bounds = {
    maxHeaderSize: headerBytesMax,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.min(headersTimeoutMs, requestTimeoutMs, 5_000),
  }
  return fastify({
    http: bounds,
    ...(tls !== undefined && { https: { ...bounds, ...tls } }),
    bodyLimit: context.broker.limits.batchBytesMax + bodyRoomBytes,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: 0,
    keepAliveTimeout: keepAliveTimeoutMs,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 512 },
    schemaController: { compilersFactory: lazyCompilers },
    frameworkErrors: (error, _request, reply) => {
      sendProblem(reply, problemOf(errorOfThrown(error)))
    },
    clientErrorHandler: (error, socket) => refuseOnSocket(socket as Socket, error.code),
  }) as unknown as FastifyInstance
}

function addHooks(server: FastifyInstance, { context, browsers }: ServerOptions): void {
  server.addHook('onRequest', async (request, reply) => {
    assertHeadersAllowed(request.raw)
    assertBrowserAllowed(request.raw, browsers)
    allowPage(request.raw, reply.raw, browsers)
    await turnOf(request.raw, reply.raw)
    const { 'content-encoding': encoding = 'identity' } = request.headers
    if (encoding.trim().toLowerCase() === 'identity') return
    // Stored as it is, it would be compressed bytes to every reader, who is not told.
    const error = new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      'content-encoding is not taken: send the body uncompressed, or as a record batch with compression',
    )
    return sendProblem(reply.header('accept-encoding', 'identity'), { ...problemOf(error), status: 415 })
  })
  server.addHook('preValidation', async (request) => readQueryNumbers(request))
  server.addHook('onSend', async (_request, reply) => {
    if (context.stopping.aborted) reply.header('connection', 'close')
  })
  server.addHook('onRoute', (route) => {
    if (route.schema === undefined || route.schema.hide === true) return
    route.schema.response = { ...(route.schema.response as object), default: problemResponse }
  })
}

/** JSON within the depth limit; anything else as bytes, for routes that take them. No body at all is null. */
function readBodies(server: FastifyInstance, depthMax: number): void {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, body: Buffer) =>
      body.length === 0 ? null : bodyOf(parseJson(body, { depthMax })),
  )
  server.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    if (request.routeOptions.config.bytes === true) return body
    if (body.length === 0) return null
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      'send the body as JSON, with content-type: application/json',
    )
  })
}

/** A JSON body. @throws RTK_INVALID_ARGUMENT for null, which routes would take for no body at all */
function bodyOf(value: unknown): unknown {
  if (value !== null) return value
  throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'body must be an object, got null; send no body for none')
}

/** A query is text, whereas JSON says what it means: only here are digits read as the number that the schema asks for. */
function readQueryNumbers(request: FastifyRequest): void {
  const schema = request.routeOptions.schema?.querystring as
    | { readonly properties: Readonly<Record<string, { readonly type?: string }>> }
    | undefined
  if (schema === undefined) return
  const query = request.query as Record<string, unknown>
  for (const [name, value] of Object.entries(query)) {
    if (schema.properties[name]?.type !== 'integer' || typeof value !== 'string') continue
    if (/^-?\d{1,16}$/.test(value)) query[name] = Number(value)
  }
}

/** Keeps the methods of each path as its routes are added. */
function collectMethods(server: FastifyInstance): Map<string, Set<string>> {
  const methods = new Map<string, Set<string>>()
  server.addHook('onRoute', ({ url, method }: RouteOptions) => {
    const known = methods.get(url) ?? new Set<string>()
    methods.set(url, known)
    for (const name of [method].flat()) known.add(name)
  })
  return methods
}

/** OPTIONS tells the methods of a path; those it does not have are answered with 405 instead of "no such path". */
function answerOtherMethods(
  routes: FastifyInstance,
  methods: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  for (const [url, known] of [...methods]) {
    const allow = [...known, 'OPTIONS'].join(', ')
    const schema = { hide: true }
    routes.options(url, { schema }, async (_request, reply) => reply.header('allow', allow).code(204).send())
    const others = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].filter((method) => !known.has(method))
    routes.route({
      method: others,
      url,
      schema,
      config: { bytes: true },
      exposeHeadRoute: false,
      handler: async (request, reply) => {
        const error = new RatatoskrError(
          'RTK_INVALID_ARGUMENT',
          `this path does not take ${request.method}; it takes ${allow}`,
        )
        return sendProblem(reply.header('allow', allow), { ...problemOf(error), status: 405 })
      },
    })
  }
}

function answerError(
  { broker, stopping }: RouteContext,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const error = errorOfThrown(thrown)
  if (error.kind === 'cancelled' && stopping.aborted) {
    const stopped = new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; retry after a pause')
    return sendProblem(reply, problemOf(stopped))
  }
  if (error.kind === 'internal') {
    broker.platform.logger.error('http request failed', { route: request.routeOptions.url, error: thrown })
  }
  return sendProblem(reply, problemOf(error))
}
