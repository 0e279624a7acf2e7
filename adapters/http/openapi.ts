/** `/openapi.json`: made from the schemas of the routes when somebody first asks for it. */
import type { FastifyInstance, RouteOptions } from 'fastify'

/** The frame of the document; the routes add themselves from their schemas. */
const frame = {
  openapi: '3.1.0',
  info: {
    title: 'Ratatoskr',
    version: '1',
    description:
      'Publish, fetch and subscribe over HTTP. Errors are RFC 9457 problem documents whose `code` is stable: branch on it.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  tags: [
    { name: 'topics', description: 'Topics and their configuration' },
    { name: 'messages', description: 'Publishing and reading' },
    { name: 'groups', description: 'Consumer groups and their offsets' },
    { name: 'queues', description: 'Queue groups: messages are leased, and settled one by one' },
    { name: 'health', description: 'For load balancers and people' },
  ],
  components: {
    securitySchemes: {
      bearer: { type: 'http' as const, scheme: 'bearer' },
      basic: { type: 'http' as const, scheme: 'basic' },
    },
  },
  // Whether anybody is asked for credentials is the operator's choice.
  security: [{}, { bearer: [] }, { basic: [] }] as Record<string, string[]>[],
}

/** The routes that are added to a server from now on, as they come. */
export function collectRoutes(server: FastifyInstance): readonly RouteOptions[] {
  const routes: RouteOptions[] = []
  server.addHook('onRoute', (route) => {
    routes.push({ ...route })
  })
  return routes
}

/** Adds the route of the document, which describes `described`. */
export function openApiRoute(routes: FastifyInstance, described: readonly RouteOptions[]): void {
  let document: Promise<unknown> | undefined
  routes.get('/openapi.json', { schema: { hide: true } }, () => {
    document ??= documentOf(described)
    return document
  })
}

/**
 * The document, from a server that is never asked anything: the generator wants to see the routes being added, and to be
 * loaded at the start of every broker it is too large.
 */
async function documentOf(described: readonly RouteOptions[]): Promise<unknown> {
  const [{ default: fastify }, { default: swagger }] = await Promise.all([
    import('fastify'),
    import('@fastify/swagger'),
  ])
  const server = fastify({ exposeHeadRoutes: false })
  server.setValidatorCompiler(() => () => true)
  server.setSerializerCompiler(() => JSON.stringify)
  await server.register(swagger, { openapi: frame })
  await server.register(async (routes) => {
    for (const { method, url, schema } of described) {
      if (method === 'HEAD' || schema?.hide === true) continue
      routes.route({ method, url, ...(schema !== undefined && { schema }), handler: async () => undefined })
    }
  })
  await server.ready()
  return server.swagger()
}
