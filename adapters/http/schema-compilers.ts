/**
 * What turns the schemas of routes into functions. Compiling all of them took a third of the broker's start and tens of
 * megabytes, for routes that most servers are never asked for: so each schema is compiled when its first value comes, and
 * what makes the serializers is loaded then.
 */
import { createRequire } from 'node:module'
import type { FastifyServerOptions } from 'fastify'
import { type Issue, validatorOf } from './validator.ts'

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>
type BuildSerializer = NonNullable<Compilers['buildSerializer']>

/** Synchronous, since a serializer has to answer at once. */
const require = createRequire(import.meta.url)

/** Checks a value, and leaves in `errors` what is wrong with the last one. */
interface Validator {
  (value: unknown): boolean
  errors?: readonly Issue[] | null
}

const buildValidator =
  () =>
  ({ schema }: { readonly schema: object }) => {
    const compiled = once(() => validatorOf(schema))
    const validator: Validator = (value) => {
      const issues: Issue[] = []
      const fits = compiled()(value, issues)
      validator.errors = fits ? null : issues
      return fits
    }
    return validator
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
  // Typed as what ajv makes, of which fastify calls the function and reads the errors.
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
