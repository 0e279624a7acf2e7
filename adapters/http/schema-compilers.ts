/**
 * What turns the schemas of routes into functions. Compiling all of them took a third of the broker's start and tens of
 * megabytes, for routes that most servers are never asked for: so each schema is compiled when its first value comes, and
 * the compilers themselves are loaded then.
 */
import { createRequire } from 'node:module'
import type { BuildCompilerFromPool } from '@fastify/ajv-compiler'
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

const buildValidator = (...given: Parameters<BuildCompilerFromPool>) => {
  const compiler = once(() => {
    const { AjvCompiler } = require('@fastify/ajv-compiler') as typeof import('@fastify/ajv-compiler')
    return AjvCompiler()(...given)
  })
  return (part: Parameters<ReturnType<BuildCompilerFromPool>>[0]) => {
    const compiled = once(() => compiler()(part) as unknown as Validator)
    const validator: Validator = (value) => {
      const validate = compiled()
      const isValid = validate(value)
      validator.errors = validate.errors
      return isValid
    }
    return validator
  }
}

const buildSerializer: BuildSerializer = (...given) => {
  const compiler = once(() => {
    const { SerializerSelector } =
      require('@fastify/fast-json-stringify-compiler') as typeof import('@fastify/fast-json-stringify-compiler')
    return SerializerSelector()(...given)
  })
  return (part) => {
    const compiled = once(() => compiler()(part))
    return (value: unknown) => compiled()(value)
  }
}

/** Compiles each schema at its first use. A wrong one fails the first request to its route: the tests compile them all. */
export const lazyCompilers: Compilers = {
  // Typed as what ajv makes, of which fastify calls the function and reads the errors.
  buildValidator: buildValidator as unknown as BuildCompilerFromPool,
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
