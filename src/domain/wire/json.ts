/**
 * JSON from outside, parsed within bounds, and read field by field with errors that name the field.
 *
 * What `parseJson` returns holds a member called `__proto__` as an ordinary own property, as every other; it does no harm
 * as long as members are looked up by `Object.hasOwn` or listed by `Object.entries`, which is all that `readFields` does.
 */
import { RatatoskrError } from '../errors.ts'
import { quoteForMessage } from '../names.ts'
import { suggestion } from '../suggest.ts'

/** What JSON from outside may be at most. */
export interface JsonBounds {
  /** Arrays and objects within each other. */
  readonly depthMax: number
  /** Size of the text: bytes of UTF-8, or characters of a string. */
  readonly bytesMax?: number | undefined
}

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of UTF-8 bytes, also of a byte order mark; undefined when they are not UTF-8. */
export function strictUtf8Text(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Parses JSON. The depth is checked before anything is built: engines accept millions of levels when they parse and
 * run out of stack when the value is walked.
 * @throws RTK_INVALID_ARGUMENT when it is not JSON or too deep, RTK_BATCH_TOO_LARGE above `bytesMax`
 */
export function parseJson(source: string | Uint8Array, bounds: JsonBounds): unknown {
  const { depthMax, bytesMax } = bounds
  if (bytesMax !== undefined && source.length > bytesMax) {
    throw new RatatoskrError(
      'RTK_BATCH_TOO_LARGE',
      `the JSON is at most ${bytesMax} bytes, got ${source.length}; send less at a time`,
    )
  }
  const text = typeof source === 'string' ? source : strictUtf8Text(source)
  if (text === undefined) throw invalid('JSON must be UTF-8')
  if (isDeeperThan(text, depthMax))
    throw invalid(`JSON may nest ${depthMax} levels (jsonDepthMax), this is deeper`)
  try {
    return JSON.parse(text)
  } catch (error) {
    const place = /position (\d+)/.exec(String(error))?.[1]
    throw invalid(`the text is not JSON${place === undefined ? '' : `: see character ${place}`}`)
  }
}

/** Counts brackets outside of strings. Strings, which are most of the text, are stepped over by `indexOf`. */
function isDeeperThan(text: string, depthMax: number): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0x22) {
      at = endOfString(text, at)
      if (at === -1) return false // not JSON: the parser says where
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > depthMax) return true
    } else if (code === 0x5d || code === 0x7d) depth--
  }
  return false
}

/** The place of the quote that ends the string which begins at `start`; -1 when none does. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end !== -1) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++
    if (backslashes % 2 === 0) return end
    end = text.indexOf('"', end + 1)
  }
  return -1
}

/**
 * Reads a value that came as JSON; `path` names it in errors. A check sees `undefined` for a member that is missing, and
 * `optional` alone lets that pass.
 */
export type JsonCheck<Value> = (value: unknown, path: string) => Value

/** What is expected of the members of an object, by name. */
export type JsonShape = Readonly<Record<string, JsonCheck<unknown>>>

/** The members as their checks give them. Members that may be missing and are, are left out. */
export type FieldsOf<Shape extends JsonShape> = { readonly [Name in keyof Shape]: ReturnType<Shape[Name]> }

/**
 * Reads the members of an object.
 * @param path names the object in errors; empty for the whole request
 * @throws RTK_INVALID_ARGUMENT with the path of the member, what was expected and what came; for a member that the shape
 *   does not have, with the nearest name that it has
 */
export function readFields<Shape extends JsonShape>(
  value: unknown,
  shape: Shape,
  path = '',
): FieldsOf<Shape> {
  const object = jsonObject(value, path === '' ? 'the request' : path)
  for (const name of Object.keys(object)) {
    if (!Object.hasOwn(shape, name)) {
      throw invalid(
        `unknown field ${quoteForMessage(join(path, name))}; ${suggestion(name, Object.keys(shape))}`,
      )
    }
  }
  const fields: Record<string, unknown> = {}
  for (const name of Object.keys(shape)) {
    const field = shape[name](Object.hasOwn(object, name) ? object[name] : undefined, join(path, name))
    if (field !== undefined) fields[name] = field
  }
  return fields as FieldsOf<Shape>
}

/** Lets a member be missing or null. */
export const optional =
  <Value>(check: JsonCheck<Value>): JsonCheck<Value | undefined> =>
  (value, path) =>
    value === undefined || value === null ? undefined : check(value, path)

/**
 * Lets a number be missing, and not null: JSON has no NaN and no infinity, and writes null for them, so that a number that
 * was reckoned wrongly would count as one that nobody gave.
 */
export const optionalInteger = (min: number, max?: number): JsonCheck<number | undefined> => {
  const check = jsonInteger(min, max)
  return (value, path) => (value === undefined ? undefined : check(value, path))
}

/** Any JSON value: for members that someone else checks. */
export const jsonAny: JsonCheck<unknown> = (value, path) => {
  if (value === undefined) throw unexpected(path, 'a value', value)
  return value
}

/** An object that is neither null nor a list. */
export const jsonObject: JsonCheck<Readonly<Record<string, unknown>>> = (value, path) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unexpected(path, 'an object', value)
  }
  return value as Readonly<Record<string, unknown>>
}

/** A string. */
export const jsonString: JsonCheck<string> = (value, path) => {
  if (typeof value !== 'string') throw unexpected(path, 'a string', value)
  return value
}

/** True or false. */
export const jsonBoolean: JsonCheck<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw unexpected(path, 'true or false', value)
  return value
}

/** A whole number between bounds, both included. */
export const jsonInteger =
  (min: number, max: number = Number.MAX_SAFE_INTEGER): JsonCheck<number> =>
  (value, path) => {
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
      throw unexpected(path, `a whole number ${range}`, value)
    }
    return value as number
  }

/** One of some words. */
export const jsonOneOf =
  <Value extends string>(values: readonly Value[]): JsonCheck<Value> =>
  (value, path) => {
    if (!values.includes(value as Value)) throw unexpected(path, `one of ${values.join(', ')}`, value)
    return value as Value
  }

/** A list, each entry by the same check. */
export const jsonList =
  <Value>(check: JsonCheck<Value>): JsonCheck<readonly Value[]> =>
  (value, path) => {
    if (!Array.isArray(value)) throw unexpected(path, 'a list', value)
    return value.map((entry: unknown, index) => check(entry, `${path}[${index}]`))
  }

/** An object by its shape, as a member of another. */
export const jsonFields =
  <Shape extends JsonShape>(shape: Shape): JsonCheck<FieldsOf<Shape>> =>
  (value, path) =>
    readFields(value, shape, path)

/** The error for a value that is not what its field takes. */
export const unexpected = (path: string, expected: string, got: unknown): RatatoskrError =>
  invalid(
    got === undefined
      ? `${path} is missing: it must be ${expected}`
      : `${path} must be ${expected}, got ${shown(got)}`,
  )

const shown = (value: unknown): string =>
  Array.isArray(value) ? 'a list' : typeof value === 'boolean' ? String(value) : quoteForMessage(value)

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)
