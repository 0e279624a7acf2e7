/**
 * Rules for the values of a configuration. A rule gives a value back as the broker takes it, or throws what is wrong with it
 * and where. There are so few kinds of values that a library for them costs more to load than the rest of the command line.
 */

/** What is wrong, and where. */
export class Misfit extends Error {
  readonly path: readonly string[]
  /** The key at `path` is none, but these are. */
  readonly keys: readonly string[] | undefined
  /** True when text was asked for: it may have been taken for a number or the like. */
  readonly wantsText: boolean

  constructor(
    path: readonly string[],
    message: string,
    more: { readonly keys?: readonly string[]; readonly wantsText?: boolean } = {},
  ) {
    super(message)
    this.path = path
    this.keys = more.keys
    this.wantsText = more.wantsText ?? false
  }
}

/** @throws Misfit */
export type Rule<T> = (value: unknown, path: readonly string[]) => T

type Shape = Readonly<Record<string, Rule<unknown>>>
type Kept<Fields extends Shape> = { readonly [Key in keyof Fields]: ReturnType<Fields[Key]> }

/** The value, or `otherwise` when there is none. */
export const defaulted =
  <T>(rule: Rule<T>, otherwise: T): Rule<T> =>
  (value, path) =>
    value === undefined ? otherwise : rule(value, path)

export const optional =
  <T>(rule: Rule<T>): Rule<T | undefined> =>
  (value, path) =>
    value === undefined ? undefined : rule(value, path)

export const flag: Rule<boolean> = (value, path) => {
  if (typeof value === 'boolean') return value
  throw new Misfit(path, 'expected true or false')
}

/** @param shortest characters; `complaint` says so in words of its own */
export const text =
  (shortest = 1, complaint?: string): Rule<string> =>
  (value, path) => {
    if (typeof value !== 'string') throw new Misfit(path, 'expected text', { wantsText: true })
    if (value.length >= shortest) return value
    throw new Misfit(path, complaint ?? 'expected text that is not empty')
  }

export const whole =
  (least: number, most = Number.MAX_SAFE_INTEGER): Rule<number> =>
  (value, path) => {
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most)
      return value as number
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`
    throw new Misfit(path, `expected a whole number ${range}`)
  }

export const oneOf =
  <const T extends string>(choices: readonly T[]): Rule<T> =>
  (value, path) => {
    const found = choices.find((choice) => choice === value)
    if (found !== undefined) return found
    throw new Misfit(path, `expected one of ${choices.join(', ')}`)
  }

/** @param least entries that there must be */
export const list =
  <T>(rule: Rule<T>, least = 0): Rule<T[]> =>
  (value, path) => {
    if (!Array.isArray(value)) throw new Misfit(path, 'expected a list')
    if (value.length < least) throw new Misfit(path, `expected a list of at least ${least}`)
    return value.map((entry, place) => rule(entry, [...path, String(place)]))
  }

/** An object of these keys and no others; what has no value is left out. Without any value it is that of `{}`. */
export const object =
  <Fields extends Shape>(fields: Fields): Rule<Kept<Fields>> =>
  (value = {}, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new Misfit(path, 'expected an object of keys and values')
    const given = value as Readonly<Record<string, unknown>>
    for (const key of Object.keys(given)) {
      if (!Object.hasOwn(fields, key))
        throw new Misfit([...path, key], 'is not a key', { keys: Object.keys(fields) })
    }
    const kept = Object.entries(fields).map(([key, rule]) => [
      key,
      rule(Object.hasOwn(given, key) ? given[key] : undefined, [...path, key]),
    ])
    return Object.fromEntries(kept.filter(([, one]) => one !== undefined)) as Kept<Fields>
  }
