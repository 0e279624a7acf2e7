/**
 * Checks values against the schemas of the routes, with the part of JSON Schema that these use; the messages are those that ajv
 * gives. ajv itself is some sixty modules and compiles each schema from text, which was a sixth of the time to the first message
 * that a fresh broker took, and megabytes. The tests hold the two against each other.
 */

/** What a schema of a route may say. */
interface Schema {
  readonly type?: TypeName | readonly TypeName[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean
  readonly items?: Schema
  readonly minItems?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  /** Taken where a property is missing. */
  readonly default?: unknown
}
type TypeName = 'object' | 'array' | 'string' | 'integer' | 'boolean' | 'null'

/** Something wrong with a value, as ajv tells it. */
export interface Issue {
  /** Where in the value: `/messages/0/key`. */
  instancePath: string
  readonly keyword: string
  readonly message: string
  readonly params: Readonly<Record<string, unknown>>
}

/** True for a value that fits; otherwise `issues` has what is wrong: one mistake, or one for each alternative. */
export type Validate = (value: unknown, issues: Issue[]) => boolean

const keywords: ReadonlySet<string> = new Set<keyof Schema | 'description' | 'examples'>([
  'type',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'minItems',
  'minimum',
  'maximum',
  'enum',
  'anyOf',
  'default',
  'description',
  'examples',
])

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const types: Readonly<Record<TypeName, (value: unknown) => boolean>> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  integer: Number.isInteger,
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
}

/** @throws TypeError for a schema that says what is not known here, rather than to let everything pass */
export function validatorOf(schema: object): Validate {
  for (const keyword of Object.keys(schema)) {
    if (!keywords.has(keyword))
      throw new TypeError(`${keyword} is not a keyword of schemas that is known here`)
  }
  const checks = [typeCheck, objectCheck, arrayCheck, numberCheck, enumCheck, anyOfCheck]
    .map((make) => make(schema))
    .filter((check) => check !== undefined)
  return (value, issues) => {
    for (const check of checks) if (!check(value, issues)) return false
    return true
  }
}

function typeCheck({ type }: Schema): Validate | undefined {
  if (type === undefined) return undefined
  const names = [type].flat() as readonly TypeName[]
  const tests = names.map((name) => types[name])
  if (tests.includes(undefined as never)) throw new TypeError(`${names} is not a type that is known here`)
  const message = `must be ${names.join(',')}`
  return (value, issues) => tests.some((test) => test(value)) || refuse(issues, 'type', message, { type })
}

function objectCheck(schema: Schema): Validate | undefined {
  const { properties = {}, required = [], additionalProperties = true } = schema
  if (schema.properties === undefined && required.length === 0 && additionalProperties) return undefined
  const checks = Object.entries(properties).map(([name, inner]) => [name, validatorOf(inner)] as const)
  const defaults = Object.entries(properties).filter(([, inner]) => inner.default !== undefined)
  if (defaults.some(([, inner]) => typeof inner.default === 'object'))
    throw new TypeError('a default is no object, for all values would share it')
  return (value, issues) => {
    if (!isObject(value)) return true
    for (const [name, inner] of defaults) if (value[name] === undefined) value[name] = inner.default
    for (const name of required) {
      if (value[name] !== undefined) continue
      const message = `must have required property '${name}'`
      return refuse(issues, 'required', message, { missingProperty: name })
    }
    if (!additionalProperties) {
      for (const name in value) {
        if (Object.hasOwn(properties, name)) continue
        const message = 'must NOT have additional properties'
        return refuse(issues, 'additionalProperties', message, { additionalProperty: name })
      }
    }
    for (const [name, check] of checks) {
      if (value[name] !== undefined && !inside(check, value[name], name, issues)) return false
    }
    return true
  }
}

function arrayCheck({ items, minItems = 0 }: Schema): Validate | undefined {
  if (items === undefined && minItems === 0) return undefined
  const check = items === undefined ? undefined : validatorOf(items)
  return (value, issues) => {
    if (!Array.isArray(value)) return true
    if (value.length < minItems) {
      const message = `must NOT have fewer than ${minItems} items`
      return refuse(issues, 'minItems', message, { limit: minItems })
    }
    if (check === undefined) return true
    return value.every((item, place) => inside(check, item, place, issues))
  }
}

function numberCheck({ minimum = -Infinity, maximum = Infinity }: Schema): Validate | undefined {
  if (minimum === -Infinity && maximum === Infinity) return undefined
  return (value, issues) => {
    if (typeof value !== 'number') return true
    if (value > maximum) return refuse(issues, 'maximum', `must be <= ${maximum}`, { limit: maximum })
    if (value < minimum) return refuse(issues, 'minimum', `must be >= ${minimum}`, { limit: minimum })
    return true
  }
}

function enumCheck({ enum: allowedValues }: Schema): Validate | undefined {
  if (allowedValues === undefined) return undefined
  const message = 'must be equal to one of the allowed values'
  return (value, issues) =>
    allowedValues.includes(value) || refuse(issues, 'enum', message, { allowedValues })
}

function anyOfCheck({ anyOf }: Schema): Validate | undefined {
  if (anyOf === undefined) return undefined
  const checks = anyOf.map((schema) => {
    // Which alternative fits is known too late to fill in what is missing.
    if (JSON.stringify(schema).includes('"default":')) throw new TypeError('an alternative has no defaults')
    return validatorOf(schema)
  })
  return (value, issues) => {
    const wrong: Issue[] = []
    if (checks.some((check) => check(value, wrong))) return true
    issues.push(...wrong)
    return refuse(issues, 'anyOf', 'must match a schema in anyOf', {})
  }
}

/** Checks what is in a value. Only what is wrong has to know where it is. */
function inside(check: Validate, value: unknown, place: string | number, issues: Issue[]): boolean {
  const before = issues.length
  if (check(value, issues)) return true
  for (let at = before; at < issues.length; at++) {
    const issue = issues[at] as Issue
    issue.instancePath = `/${place}${issue.instancePath}`
  }
  return false
}

function refuse(issues: Issue[], keyword: string, message: string, params: Issue['params']): false {
  issues.push({ instancePath: '', keyword, message, params })
  return false
}
