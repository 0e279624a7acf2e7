import { Ajv, type ErrorObject } from 'ajv'
import fc from 'fast-check'
import fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import type { RouteContext } from './route-context.ts'
import { addRoutes } from './server.ts'
import { type Issue, validatorOf } from './validator.ts'

interface Schema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
}

/** The schemas of all that requests hold, by the place in the API. */
async function schemasOfRoutes(): Promise<ReadonlyMap<string, Schema>> {
  const schemas = new Map<string, Schema>()
  const anything = () => () => () => true
  const compilersFactory = { buildValidator: anything as never, buildSerializer: () => () => JSON.stringify }
  const server = fastify({ schemaController: { compilersFactory } })
  server.addHook('onRoute', ({ method, url, schema = {} }) => {
    for (const part of ['body', 'querystring', 'params', 'headers'] as const) {
      const found = schema[part] as (Schema & { content?: Record<string, { schema: Schema }> }) | undefined
      if (found === undefined) continue
      if (found.content === undefined) schemas.set(`${method} ${url} ${part}`, found)
      for (const [type, content] of Object.entries(found.content ?? {}))
        schemas.set(`${method} ${url} ${part} ${type}`, content.schema)
    }
  })
  await server.register(async (routes) => addRoutes(routes, {} as RouteContext))
  await server.ready()
  await server.close()
  return schemas
}

const ajv = new Ajv({ useDefaults: true, validateSchema: false, meta: false })
const schemas = await schemasOfRoutes()

/** Values that fit a schema, or nearly so. */
function near(schema: Schema): fc.Arbitrary<unknown> {
  const kinds: fc.Arbitrary<unknown>[] = []
  const { type, properties, items, anyOf } = schema
  if (anyOf !== undefined) kinds.push(...anyOf.map(near))
  if (schema.enum !== undefined) kinds.push(fc.constantFrom(...schema.enum))
  for (const name of [type].flat()) {
    if (name === 'object' && properties !== undefined) {
      const fields = Object.fromEntries(
        Object.entries(properties).map(([key, inner]) => [
          key,
          fc.option(near(inner), { nil: undefined, freq: 6 }),
        ]),
      )
      const more = fc.dictionary(fc.constantFrom('extra', '__proto__', 'constructor'), fc.integer(), {
        maxKeys: 1,
      })
      kinds.push(
        fc.record(fields),
        fc.tuple(fc.record(fields), fc.option(more, { nil: {}, freq: 1 })).map(([a, b]) => ({ ...a, ...b })),
      )
    } else if (name === 'array' && items !== undefined) kinds.push(fc.array(near(items), { maxLength: 3 }))
    else if (name === 'integer')
      kinds.push(fc.integer({ min: -1, max: 20_000 }), fc.integer({ min: 0, max: 3 }))
    else if (name === 'string') kinds.push(fc.string({ maxLength: 5 }))
    else if (name === 'boolean') kinds.push(fc.boolean())
    else if (name === 'null') kinds.push(fc.constant(null))
  }
  if (kinds.length === 0) return fc.anything({ maxDepth: 2 })
  const weighted = kinds.map((arbitrary) => ({ arbitrary, weight: 12 }))
  return fc.oneof(...weighted, {
    arbitrary: fc.anything({ maxDepth: 2, withNullPrototype: true }),
    weight: 1,
  })
}

const places = (issues: readonly (Issue | ErrorObject)[] | null | undefined) =>
  (issues ?? []).map(({ instancePath, message, params: { additionalProperty, allowedValues } }) => ({
    instancePath,
    message,
    additionalProperty,
    allowedValues,
  }))

describe('validatorOf', () => {
  it.each([...schemas])('says of %s what ajv says', (_place, schema) => {
    const validate = validatorOf(schema)
    const theirs = ajv.compile(schema)
    fc.assert(
      fc.property(near(schema), (value) => {
        const [forUs, forThem] = [structuredClone(value), structuredClone(value)]
        const issues: Issue[] = []
        expect(validate(forUs, issues)).toBe(theirs(forThem))
        expect(places(issues)).toEqual(places(theirs.errors))
        expect(forUs).toEqual(forThem) // defaults
      }),
      { numRuns: 100 },
    )
  })

  it('knows no field by what every object inherits', () => {
    const validate = validatorOf({ type: 'object', properties: {}, additionalProperties: false })
    for (const name of ['constructor', '__proto__']) {
      const issues: Issue[] = []
      expect(validate(JSON.parse(`{"${name}":1}`), issues)).toBe(false)
      expect(issues).toMatchObject([{ params: { additionalProperty: name } }])
    }
  })

  it('was asked about schemas of all sorts', () => {
    const said = JSON.stringify([...schemas.values()])
    expect(schemas.size).toBeGreaterThan(60)
    for (const keyword of ['anyOf', 'default', 'enum', 'items', 'maximum', 'minimum', 'minItems', 'required'])
      expect(said).toContain(`"${keyword}":`)
  })

  it.each([
    { type: 'number' },
    { pattern: '^a' },
    { properties: { list: { type: 'array', default: [] } } },
    { anyOf: [{ properties: { n: { default: 1 } } }] },
  ])('refuses a schema that it would not hold values to: %j', (schema) => {
    expect(() => validatorOf(schema)).toThrow(TypeError)
  })
})
