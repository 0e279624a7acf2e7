/** Checks the state of a data directory: the part of `inspect-directory.ts` that is about `state/`. Only reads. */
import { StateTable, utf8Text } from 'ratatoskr/ports'
import { systemCodeOf } from '../files/file-system.ts'
import type { StateNote } from '../log/clean-file.ts'
import { type CopyFindings, copyEndings, type MergedCopies } from '../state/state-copies.ts'
import {
  type Generation,
  hasLogs,
  isNewOfEarlierVersion,
  readGenerations,
} from '../state/state-generations.ts'
import type { Finding } from './finding.ts'
import type { Inspection } from './inspect-log.ts'

/** What is in the state, as far as a check of files is concerned. */
export interface InspectedState {
  /** The generation that counts; undefined when no file has a whole change. */
  readonly merged: MergedCopies | undefined
  /** Newer generations without a whole change. */
  readonly hollow: readonly Generation[]
  /** What a clean stop has noted of it, where it ends before that: the broker refuses to start. */
  readonly shortOf: StateNote | undefined
  /** There are logs, so that the broker refuses to start when nothing counts. */
  readonly hasLogs: boolean
  /** Ids that the topics of the state name. */
  readonly topicIds: ReadonlySet<string>
  /** Those that are not being deleted, by id. */
  readonly topics: ReadonlyMap<string, InspectedTopic>
  /** The group that has come furthest in each log, by `<topic id>/<partition>`. */
  readonly reached: ReadonlyMap<string, Reached>
}

interface InspectedTopic {
  /** What it is stored under. */
  readonly key: string
  readonly partitions: number
}

interface Reached {
  readonly group: string
  readonly offset: number
}

/** What the state is worth; undefined when it has no file, and there is nothing that speaks of one. */
export async function inspectState(
  { fileSystem, checksum, onBytes }: Inspection,
  directory: string,
  note: StateNote | undefined,
): Promise<InspectedState | undefined> {
  const folder = `${directory}/state`
  // A broker that runs may begin a new generation and remove this one at any time.
  for (let attempt = 0; ; attempt++) {
    const table = new StateTable()
    const reading = await readGenerations(fileSystem, folder, checksum, table, note)
    const logs = await hasLogs(fileSystem, folder)
    const isNew = !logs && isNewOfEarlierVersion(reading)
    const merged = reading.counts ?? (isNew ? reading.hollow[0] : undefined)
    const hollow = reading.hollow.filter((one) => one !== merged)
    const isMoving = merged?.lost.length !== 0 || merged.copies.some(({ state }) => state === 'missing')
    if ((isMoving || hollow.length > 0) && attempt < 3) continue
    const shortOf = reading.isShort ? note : undefined
    if (merged === undefined && hollow.length === 0 && !logs && shortOf === undefined) return undefined
    for (const one of merged ? [merged, ...hollow] : hollow)
      for (const { sizeBytes } of one.copies) onBytes(sizeBytes)
    const topicIds = new Set<string>()
    const topics = new Map<string, InspectedTopic>()
    for (const { key, value } of table.list('topics/')) {
      const [id, partitions] = partitionsIn(utf8Text(value))
      if (id !== undefined && partitions !== undefined) topics.set(id, { key, partitions })
      for (const [id] of utf8Text(value).matchAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g))
        topicIds.add(id)
    }
    return { merged, hollow, shortOf, hasLogs: logs, topicIds, topics, reached: reachedIn(table) }
  }
}

/** The state that names the topics of another directory; what is wrong with it is told where it is. */
export const inspectTopics = (
  inspection: Inspection,
  directory: string,
): Promise<InspectedState | undefined> =>
  inspectState({ ...inspection, onBytes: () => {} }, directory, undefined).catch((error: unknown) => {
    if (systemCodeOf(error) === undefined) throw error
    return undefined
  })

/**
 * What groups have come to: `groups/<topic id>/<group>/<partition>` holds `{ offset }` as JSON, `queues/` likewise a byte 1 and
 * the offset as an unsigned varint, with more behind it. What cannot be read is left out.
 */
function reachedIn(table: StateTable): Map<string, Reached> {
  const reached = new Map<string, Reached>()
  for (const [prefix, offsetIn] of [
    ['groups/', committedIn],
    ['queues/', settledIn],
  ] as const) {
    for (const { key, value } of table.list(prefix)) {
      const [, topicId, group, partition] = key.split('/')
      const offset = partition === undefined ? undefined : offsetIn(value)
      const log = `${topicId}/${partition}`
      if (offset !== undefined && offset > (reached.get(log)?.offset ?? -1))
        reached.set(log, { group, offset })
    }
  }
  return reached
}

function committedIn(value: Uint8Array): number | undefined {
  try {
    const { offset } = JSON.parse(utf8Text(value)) as Record<string, unknown>
    return Number.isSafeInteger(offset) ? (offset as number) : undefined
  } catch {
    return undefined
  }
}

function settledIn(value: Uint8Array): number | undefined {
  if (value[0] !== 1) return undefined
  let [offset, unit] = [0, 1]
  for (const byte of value.subarray(1)) {
    offset += (byte & 0x7f) * unit
    if (byte < 0x80) return Number.isSafeInteger(offset) ? offset : undefined
    unit *= 0x80
  }
  return undefined
}

/** Id and number of partitions of a stored topic; nothing of one that is being deleted, or that is written otherwise. */
function partitionsIn(text: string): readonly [id?: string, partitions?: number] {
  try {
    const { id, deleting, config } = JSON.parse(text) as Record<string, unknown>
    const partitions = (config as { readonly partitions?: unknown } | undefined)?.partitions
    if (deleting !== false || typeof id !== 'string' || !Number.isSafeInteger(partitions)) return []
    return [id, partitions as number]
  } catch {
    return []
  }
}

/** What is wrong with a state that ends before what was noted of it. */
export const shortText = ({ generation, sizeBytes }: StateNote): string =>
  `the last stop left ${sizeBytes} whole bytes of generation ${generation}, and the state ends before: topics or committed offsets are lost`

const shortAdvice =
  'put either file back in state/ as the stop left it, or go on with what is left with `ratatoskr log repair --accept-loss`, also after restoring an older state/ from a backup; it keeps the logs'

const copyAdvice: Readonly<Record<CopyFindings['state'], string | undefined>> = {
  ok: undefined,
  torn: 'nothing: the broker cuts the unfinished change off; nobody was promised it',
  behind: 'nothing: the broker completes it from the other copy',
  missing: 'nothing: the broker makes it again from the other copy',
  damaged:
    'nothing now: the broker makes it again from the other copy and keeps this one aside; check the disk',
  different: 'nothing now: the .log counts, and the broker keeps the .copy aside; check the disk',
}

/**
 * What a check says of the state.
 * @param folder where it is
 */
export function* stateFindings(
  folder: string,
  state: InspectedState,
  isRunning: boolean,
): Generator<Finding> {
  const { merged, hollow, shortOf } = state
  if (merged === undefined && hollow.length === 0 && state.hasLogs) {
    yield {
      severity: 'error',
      ...{ file: folder, state: 'missing' },
      problem:
        'there is no file of the state, and there are logs whose topics it would name: the broker refuses to start',
      advice:
        'restore state/ from a backup, or begin with an empty state with `ratatoskr log repair --accept-loss`: it keeps the logs, which `ratatoskr log dump` reads',
    }
    return
  }
  if (shortOf !== undefined && (merged !== undefined || !state.hasLogs)) {
    yield {
      severity: 'error',
      ...{ file: folder, state: 'short' },
      problem: `${shortText(shortOf)}: the broker refuses to start`,
      advice: shortAdvice,
    }
  }
  const advice =
    merged !== undefined && shortOf !== undefined
      ? shortAdvice
      : merged !== undefined
        ? 'restore state/ from a backup; or start the broker: the generation before this one counts, and it sets this file aside'
        : state.hasLogs
          ? 'restore state/ from a backup, or begin with an empty state with `ratatoskr log repair --accept-loss`, which keeps the logs'
          : 'restore state/ from a backup; or start the broker: it sets this file aside and begins with an empty state'
  const isRefused = merged === undefined && state.hasLogs
  const problem = `there is no whole change in this generation of the state, which no crash leaves${isRefused ? ': the broker refuses to start' : ''}`
  for (const { path: file, state: copyState, sizeBytes } of hollow.flatMap(({ copies }) => copies)) {
    if (copyState === 'missing') continue
    yield { severity: 'error', file, state: 'damaged', sizeBytes, problem, advice }
  }
  if (merged !== undefined) yield* copyFindings(merged, isRunning, shortOf !== undefined)
}

function* copyFindings(merged: MergedCopies, isRunning: boolean, isShort: boolean): Generator<Finding> {
  const { copies, batches, endOffset, lost } = merged
  const folder = copies[0].path.slice(0, -copyEndings[0].length)
  for (const { path, state, sizeBytes, problem, position, offset } of copies) {
    const place = { ...(problem !== undefined && { problem, position, offset }) }
    const isMoving = isRunning && (state === 'torn' || state === 'behind')
    const severity = state === 'ok' ? 'ok' : isMoving ? 'info' : 'warning'
    // What is torn where more was left by a stop in order was promised.
    const advice = isShort ? undefined : copyAdvice[state]
    yield {
      severity,
      file: path,
      state,
      sizeBytes,
      batches,
      records: endOffset,
      ...place,
      ...(advice && { advice }),
    }
  }
  for (const { from, to } of lost) {
    yield {
      severity: 'error',
      ...{ file: folder, state: 'lost', offset: from, nextOffset: to },
      problem: 'both copies are damaged at the same place: changes of topics or committed offsets are lost',
      advice:
        'restore state/ from a backup; or start the broker: it keeps the rest, and the damaged files in quarantine',
    }
  }
}
