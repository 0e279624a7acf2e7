/** When a message that failed comes again: the delays of retry policies, and their text form for commands and configuration. */
import { RatatoskrError } from '../errors.ts'
import { quoteForMessage } from '../names.ts'
import { suggestion } from '../suggest.ts'
import type { RetryPolicy } from './queue-config.ts'

/** Longest delay of a retry: 366 days. */
export const retryDelayMsMax = 366 * 24 * 60 * 60 * 1_000
/** Most delays of a `list`. */
const retryListMax = 64

const kinds = ['fixed', 'linear', 'exponential', 'list'] as const
const defaultJitter = 0.5

/**
 * How long a message waits, in whole milliseconds.
 * @param attempt the delivery that failed, from 1
 * @param random at least 0 and below 1; only for policies with jitter
 */
export function retryDelayMs(policy: RetryPolicy, attempt: number, random: number): number {
  const nth = Math.max(1, attempt)
  switch (policy.kind) {
    case 'fixed':
      return policy.delayMs
    case 'linear':
      return Math.min(policy.maxMs, policy.delayMs * nth)
    case 'exponential': {
      const boundMs = Math.min(policy.maxMs, policy.delayMs * 2 ** Math.min(nth - 1, 52))
      return Math.round(boundMs * (1 - policy.jitter * random))
    }
    case 'list':
      return policy.delaysMs[Math.min(nth, policy.delaysMs.length) - 1]
  }
}

/**
 * Checks a policy that comes from outside, an object or its text form.
 * @throws RTK_INVALID_ARGUMENT
 */
export function parseRetryPolicy(given: unknown): RetryPolicy {
  if (typeof given === 'string') return retryPolicyOf(given)
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(
      `a retry policy is an object or a text such as ${textExamples}, got ${quoteForMessage(given)}`,
    )
  }
  const { kind, ...fields } = given as Readonly<Record<string, unknown>>
  switch (kind) {
    case 'fixed':
      assertFields(kind, fields, ['delayMs'])
      return { kind, delayMs: delay('retry.delayMs', fields.delayMs) }
    case 'linear':
      assertFields(kind, fields, ['delayMs', 'maxMs'])
      return { kind, ...risingDelays(fields) }
    case 'exponential': {
      assertFields(kind, fields, ['delayMs', 'maxMs', 'jitter'])
      return { kind, ...risingDelays(fields), jitter: jitterOf(fields.jitter ?? defaultJitter) }
    }
    case 'list': {
      assertFields(kind, fields, ['delaysMs'])
      const delaysMs = fields.delaysMs
      if (!Array.isArray(delaysMs) || delaysMs.length === 0 || delaysMs.length > retryListMax) {
        throw invalid(`retry.delaysMs must be a list of 1 to ${retryListMax} delays`)
      }
      return { kind, delaysMs: delaysMs.map((delayMs, at) => delay(`retry.delaysMs[${at}]`, delayMs)) }
    }
    default:
      throw invalid(`retry.kind must be one of ${kinds.join(', ')}, got ${quoteForMessage(kind)}`)
  }
}

/** The text form: `fixed:1s`, `linear:1s..30s`, `exponential:200ms..30s` (with `~0.2` for another jitter than 0.5), `list:1s,5s,30s`. */
export function retryPolicyText(policy: RetryPolicy): string {
  switch (policy.kind) {
    case 'fixed':
      return `fixed:${timeText(policy.delayMs)}`
    case 'linear':
      return `linear:${timeText(policy.delayMs)}..${timeText(policy.maxMs)}`
    case 'exponential': {
      const jitter = policy.jitter === defaultJitter ? '' : `~${policy.jitter}`
      return `exponential:${timeText(policy.delayMs)}..${timeText(policy.maxMs)}${jitter}`
    }
    case 'list':
      return `list:${policy.delaysMs.map(timeText).join(',')}`
  }
}

/** True when two policies say the same. */
export const equalRetryPolicies = (one: RetryPolicy, other: RetryPolicy): boolean =>
  retryPolicyText(one) === retryPolicyText(other)

const textExamples = '"fixed:1s", "linear:1s..30s", "exponential:200ms..30s" or "list:1s,5s,30s"'

/** The policy that a text stands for. */
function retryPolicyOf(text: string): RetryPolicy {
  const colon = text.indexOf(':')
  const kind = text.slice(0, Math.max(0, colon))
  const rest = text.slice(colon + 1)
  switch (kind) {
    case 'fixed':
      return parseRetryPolicy({ kind, delayMs: timeOf(rest) })
    case 'list':
      return parseRetryPolicy({ kind, delaysMs: rest.split(',').map(timeOf) })
    case 'linear':
      return parseRetryPolicy({ kind, ...spanOf(rest) })
    case 'exponential': {
      const [span, jitter] = split(rest, '~')
      const fields = { kind, ...spanOf(span) }
      return parseRetryPolicy(jitter === undefined ? fields : { ...fields, jitter: decimalOf(jitter) })
    }
    default:
      throw invalid(`a retry policy is written as ${textExamples}, got ${quoteForMessage(text)}`)
  }
}

function spanOf(text: string): { readonly delayMs: number; readonly maxMs: number } {
  const [from, to] = split(text, '..')
  if (to === undefined) {
    throw invalid(
      `a shortest and a longest delay are expected, such as 1s..30s, got ${quoteForMessage(text)}`,
    )
  }
  return { delayMs: timeOf(from), maxMs: timeOf(to) }
}

function split(text: string, by: string): readonly [string, string | undefined] {
  const at = text.indexOf(by)
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + by.length)]
}

const unitsMs = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const
const timePattern = /^(\d{1,12})(ms|s|m|h|d)$/

function timeOf(text: string): number {
  const parts = timePattern.exec(text)
  if (parts === null) {
    throw invalid(`a delay is a whole number with ms, s, m, h or d, got ${quoteForMessage(text)}`)
  }
  return Number(parts[1]) * unitsMs[parts[2] as keyof typeof unitsMs]
}

function timeText(timeMs: number): string {
  if (timeMs === 0) return '0ms'
  const [unit, unitMs] = Object.entries(unitsMs).find(([, ms]) => timeMs % ms === 0) ?? ['ms', 1]
  return `${timeMs / unitMs}${unit}`
}

const decimalOf = (text: string): unknown => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : text)

function risingDelays(fields: Readonly<Record<string, unknown>>): { delayMs: number; maxMs: number } {
  const delayMs = delay('retry.delayMs', fields.delayMs)
  const maxMs = delay('retry.maxMs', fields.maxMs)
  if (maxMs >= delayMs) return { delayMs, maxMs }
  throw invalid(`retry.maxMs must be at least retry.delayMs, ${delayMs}, got ${maxMs}`)
}

function delay(name: string, value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= retryDelayMsMax) {
    return value as number
  }
  throw invalid(`${name} must be a whole number from 0 to ${retryDelayMsMax}, got ${quoteForMessage(value)}`)
}

function jitterOf(value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  throw invalid(`retry.jitter must be a number from 0 to 1, got ${quoteForMessage(value)}`)
}

function assertFields(kind: string, fields: object, known: readonly string[]): void {
  const unknown = Object.keys(fields).find((name) => !known.includes(name))
  if (unknown === undefined) return
  throw invalid(
    `${quoteForMessage(unknown)} is no field of a retry policy of kind ${kind}; ${suggestion(unknown, known)}`,
  )
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)
