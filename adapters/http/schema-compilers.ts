/**
 * What turns the schemas of routes into functions. Compiling all of them took a third of the broker's start and tens of
 * megabytes, for routes that most servers are never asked for: so each schema is compiled when its first value comes, and
 * the compilers themselves are loaded then.
 */
import { createRequire } from 'node:module'
import type { FastifyServerOptions } from 'fastify'

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>
type BuildSerializer = NonNullable<Compilers['buildSerializer']>

/** Synchronous, since a validator has to answer at once. */
const require = createRequire(import.meta.url)

/** Checks a value, and leaves in `errors` what is wrong with the last one. */
interface Validator {
  (value: unknown): boolean
  errors?: unknown
}

/** How values are checked: nothing is converted or left out, and the first mistake is told. */
export const validation = {
  removeAdditional: false,
  coerceTypes: false,
  allErrors: false,
  useDefaults: true,
  addUsedSchema: false,
} as const

function buildValidator() {
  const compiler = once(() => {
    const { Ajv } = require('ajv') as typeof import('ajv')
    // Compiling the schema of schemas takes longer than all of ours: the tests hold ours against it instead.
    return new Ajv({ ...validation, meta: false, validateSchema: false })
  })
  return ({ schema }: { readonly schema: object }) => {
    const compiled = once((): Validator => compiler().compile(schema))
    const validator: Validator = (value) => {
      const validate = compiled()
      const isValid = validate(value)
      validator.errors = validate.errors
      return isValid
    }
    return validator
  }
}

const buildSerializer: BuildSerializer =
  () =>
  ({ schema }) => {
    const compiled = once(() => {
      const serializerOf = require('fast-json-stringify') as typeof import('fast-json-stringify').default
      return serializerOf(schema as Parameters<typeof serializerOf>[0])
    })
    return (value: unknown) => compiled()(value)
  }

/** Compiles each schema at its first use. A wrong one fails the first request to its route: the tests compile them all. */
export const lazyCompilers: Compilers = {
  // Typed as all that ajv makes, of which fastify calls the function and reads the errors.
  buildValidator: buildValidator as unknown as NonNullable<Compilers['buildValidator']>,
  buildSerializer,
}

/** A function that makes its value at the first call. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
