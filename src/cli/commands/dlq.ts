/** `ratatoskr dlq …`: dead letters are listed, shown, published again and let go of. */
import type { Client } from '../../client/client.ts'
import {
  bytesToJson,
  type DeadLetterFilter,
  type DeadLetterReason,
  deadLetterPageToJson,
  RatatoskrError,
  type StoredDeadLetter,
  utf8,
} from '../../ports/index.ts'
import { type ConnectionOptions, wholeNumber, withClient } from '../connection.ts'
import { durationMs } from '../duration.ts'
import { type OutputFormat, Progress, printRecord, printRows, write } from '../output.ts'
import { momentMs } from '../position.ts'

/** Which letters are meant. */
export interface LetterOptions extends ConnectionOptions {
  readonly group?: string
  readonly reason?: string
  readonly match?: string
  readonly since?: string
  readonly until?: string
  readonly key?: string
  readonly id?: readonly string[]
  readonly deadLetterTopic?: string
  readonly max?: string
}

interface RedriveOptions extends LetterOptions {
  readonly to?: string
  readonly rate?: string
  readonly dryRun?: boolean
  readonly force?: boolean
  readonly everyGroup?: boolean
}

const pageLetters = 1_000

export const listLetters = (topic: string, options: LetterOptions): Promise<void> =>
  withClient(options, async (client) => {
    const letters = await lettersOf(client, topic, options)
    if (options.output !== 'table') return printLetters(letters, options.output)
    const rows = letters.map(({ offset, group, reason, attempts, lastAtMs, redrives, source, error }) => ({
      offset,
      group,
      reason,
      attempts,
      last: lastAtMs === undefined ? '' : new Date(lastAtMs).toISOString(),
      redrives,
      source: `${source.partition}:${source.offset}`,
      error,
    }))
    const columns = ['offset', 'group', 'reason', 'attempts', 'last', 'redrives', 'source', 'error']
    await printRows(rows, columns, 'table')
  })

export const showLetter = (topic: string, place: string, options: LetterOptions): Promise<void> =>
  withClient(options, async (client) => {
    const offset = offsetOf(place)
    // Asked for from its place on: the letters before it need not be looked at.
    const request = { ...filterOf(options), offsets: [offset], after: offset, max: 1 }
    const [letter] = (await client.deadLetters(topic, request)).letters
    if (letter === undefined) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `${topic} has no dead letter at ${place} that was neither redriven nor purged; list them with dlq list`,
      )
    }
    if (options.output !== 'table') return printRecord(jsonOf(letter), options.output)
    const { payload, headers, key, source, buriedAtMs, firstAtMs, lastAtMs, timestampMs, ...rest } = letter
    const record: Record<string, unknown> = {
      ...rest,
      source: `${source.topic} ${source.partition}:${source.offset}`,
      published: timeOf(timestampMs),
      firstDelivered: timeOf(firstAtMs),
      lastDelivered: timeOf(lastAtMs),
      buried: timeOf(buriedAtMs),
      key: key === undefined ? '' : wordOf(key),
    }
    for (const [name, value] of headers) record[`header ${name}`] = wordOf(value)
    record.payload = wordOf(payload)
    await printRecord(record, 'table')
  })

export const redriveLetters = (topic: string, options: RedriveOptions): Promise<void> =>
  withClient(options, async (client) => {
    const { to: target, dryRun, force, everyGroup } = options
    const request = {
      ...filterOf(options),
      target,
      dryRun,
      force,
      everyGroup,
      max: maxOf(options),
      rate: options.rate === undefined ? undefined : wholeNumber('--rate', options.rate, 1),
    }
    const progress = new Progress(`redrive ${topic}`)
    const result = await client.redriveDeadLetters(topic, request, ({ redriven }) =>
      progress.update(`${redriven} messages`),
    )
    progress.finish(`${result.redriven} messages${dryRun ? ' would be redriven' : ''}`)
    const { redriven, ...counts } = result
    await printRecord(dryRun ? { ...counts, wouldRedrive: redriven } : result, options.output)
  })

export const purgeLetters = (topic: string, options: LetterOptions & { yes?: boolean }): Promise<void> =>
  withClient(options, async (client) => {
    if (options.yes !== true) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        'what is purged is not redriven any more; say so with --yes',
      )
    }
    const request = { ...filterOf(options), max: maxOf(options) }
    await printRecord(await client.purgeDeadLetters(topic, request), options.output)
  })

async function lettersOf(client: Client, topic: string, options: LetterOptions): Promise<StoredDeadLetter[]> {
  const count = maxOf(options) ?? Number.POSITIVE_INFINITY
  const filter = filterOf(options)
  const letters: StoredDeadLetter[] = []
  for (let after: number | undefined; letters.length < count; ) {
    const max = Math.min(pageLetters, count - letters.length)
    const page = await client.deadLetters(topic, { ...filter, max, after })
    letters.push(...page.letters)
    if (page.next === undefined) break
    after = page.next
  }
  return letters
}

function filterOf(options: LetterOptions): DeadLetterFilter {
  const { group, reason, match, since, until, key, id: ids, deadLetterTopic } = options
  return {
    group,
    reason: reason as DeadLetterReason | undefined, // the broker checks the word
    match,
    ids,
    deadLetterTopic,
    sinceMs: since === undefined ? undefined : agoOrMoment('--since', since),
    untilMs: until === undefined ? undefined : agoOrMoment('--until', until),
    key: key === undefined ? undefined : utf8(key),
  }
}

/** A duration back from now, or a moment. */
function agoOrMoment(option: string, text: string): number {
  if (/^[\d.]+[a-z]+$/.test(text)) return Date.now() - durationMs(option, text)
  try {
    return momentMs(option, text)
  } catch (cause) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `${option} takes a duration back from now such as 10m, 2h or 7d, Unix ms, or a time of ISO 8601 such as 2030-01-31T08:00:00Z, got ${JSON.stringify(text.slice(0, 60))}`,
      { cause },
    )
  }
}

const maxOf = ({ max }: LetterOptions): number | undefined =>
  max === undefined ? undefined : wholeNumber('--max', max, 1)

/** `PARTITION:OFFSET`, or the offset alone: letters are all in partition 0. */
function offsetOf(place: string): number {
  const [, offset] = /^(?:0:)?(\d{1,15})$/.exec(place) ?? []
  if (offset !== undefined) return Number(offset)
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `a dead letter is named by its place in the dead letter topic, such as 0:17, got ${JSON.stringify(place.slice(0, 60))}`,
  )
}

async function printLetters(letters: readonly StoredDeadLetter[], format: OutputFormat): Promise<void> {
  const rows = letters.map(jsonOf)
  if (format === 'json') return write(process.stdout, `${JSON.stringify(rows, null, 2)}\n`)
  for (const row of rows) await write(process.stdout, `${JSON.stringify(row)}\n`)
}

const jsonOf = (letter: StoredDeadLetter): object => {
  const { letters } = deadLetterPageToJson({ letters: [letter] }) as { letters: readonly object[] }
  return letters[0]
}

const timeOf = (timeMs: number | undefined): string =>
  timeMs === undefined ? '' : new Date(timeMs).toISOString()

/** Bytes as text where they are some. */
function wordOf(bytes: Uint8Array): string {
  const json = bytesToJson(bytes)
  return typeof json === 'string' ? json : `base64:${json.base64}`
}
