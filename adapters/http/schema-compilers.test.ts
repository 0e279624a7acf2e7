import fastify, { type FastifyInstance } from 'fastify'
import { expect, it } from 'vitest'
import type { RouteContext } from './route-context.ts'
import { lazyCompilers } from './schema-compilers.ts'
import { addRoutes } from './server.ts'

/** How fastify's own compilers are to check values: nothing is converted or left out. */
const strict = { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: true } } as const
const noContext = {} as RouteContext

/** A server whose schemas are compiled while it is made, which is fastify's way. */
async function compileAll(add: (routes: FastifyInstance) => void): Promise<void> {
  const server = fastify({ ajv: strict })
  await server.register(async (routes) => add(routes))
  await server.ready()
  await server.close()
}

it('the schemas of all routes compile', async () => {
  await compileAll((routes) => addRoutes(routes, noContext))
})

it('a schema that does not compile would have been found', async () => {
  const add = (schema: object) =>
    compileAll((routes) => routes.post('/wrong', { schema }, async () => undefined) && undefined)
  await expect(add({ body: { type: 'nonsense' } })).rejects.toThrow(/validation/)
  await expect(add({ response: { 200: { type: 'nonsense' } } })).rejects.toThrow(/serialization/)
})

it('compiles a schema when its first value comes, and checks every value with it', async () => {
  const server = fastify({ schemaController: { compilersFactory: lazyCompilers }, ajv: strict })
  let read = 0
  const counted = {
    type: 'object',
    get properties() {
      read++
      return { n: { type: 'integer', default: 7 } }
    },
  }
  server.post('/sum', { schema: { body: counted } }, async ({ body }) => body)
  await server.ready()
  expect(read).toBe(0)
  const post = async (payload: object) =>
    (await server.inject({ method: 'POST', url: '/sum', payload })).json()
  expect(await post({ n: 'x' })).toMatchObject({ message: 'body/n must be integer' })
  expect(read).toBeGreaterThan(0)
  const afterFirst = read
  expect(await post({ n: 1 })).toEqual({ n: 1 })
  expect(await post({})).toEqual({ n: 7 })
  expect(read).toBe(afterFirst)
  await server.close()
})

it('answers hold what their schema names, and nothing else', async () => {
  const server = fastify({ schemaController: { compilersFactory: lazyCompilers } })
  const response = { 200: { type: 'object', properties: { shown: { type: 'string' } } } }
  server.get('/', { schema: { response } }, async () => ({ shown: 'yes', secret: 'no' }))
  for (let i = 0; i < 2; i++) expect((await server.inject('/')).json()).toEqual({ shown: 'yes' })
  await server.close()
})
