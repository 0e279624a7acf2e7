/** `ratatoskr log dump`, `log verify` and `log repair`: print what adapters/disk finds and does; it decides. */
import type { Finding, RepairStep } from 'ratatoskr/adapters/disk'
import {
  attributesOf,
  baseOffsetOf,
  batchSizeOf,
  compressionOf,
  crcOf,
  isRatatoskrError,
  leaderEpochOf,
  maxTimestampOf,
  messagesOf,
  messageToJson,
  producerIdOf,
  RatatoskrError,
  recordCountOf,
  toBase64,
  utf8Text,
} from '../../ports/index.ts'
import { loadConfigOf } from '../config/flags.ts'
import { exitCodes } from '../exit-codes.ts'
import { type OutputFormat, outputFormats, Progress, printRows, write } from '../output.ts'

const expandedBytesMax = 64 * 1024 * 1024

export interface DumpFlags {
  readonly headers?: boolean
  readonly from?: string
  readonly to?: string
  readonly text?: boolean
}

export async function dumpLog(path: string, flags: DumpFlags): Promise<void> {
  const { batchFileNameOf, dumpBatches } = await import('ratatoskr/adapters/disk')
  const { nodePlatform } = await import('ratatoskr/adapters/node')
  const { checksum, compression } = nodePlatform()
  const offsets = {
    from: offsetOf('--from', flags.from, 0),
    to: offsetOf('--to', flags.to, Number.MAX_SAFE_INTEGER),
  }
  const { kind } = batchFileNameOf(path)
  const linesOf = kind === 'state' ? await stateLines(flags) : messageLines(flags, offsets, compression)
  for await (const part of dumpBatches(path, checksum, offsets)) {
    if (part.kind === 'batch') {
      const { bytes, at, position } = part
      try {
        const lines = flags.headers ? [headerOf(bytes, at, position)] : linesOf(bytes, at)
        for (const line of lines) await write(process.stdout, `${JSON.stringify(line)}\n`)
      } catch (error) {
        tell(
          `offset ${baseOffsetOf(bytes, at)}, byte ${position}: ${error instanceof Error ? error.message : error}`,
        )
      }
    } else if (part.kind === 'gap') {
      const { offset, endOffset, position, endPosition } = part
      const what =
        endOffset > offset
          ? `offsets ${offset} to ${endOffset - 1} are lost to damage`
          : 'damage, and no record lost'
      tell(`${what} (bytes ${position} to ${endPosition - 1})`)
    } else {
      tell(`offset ${part.offset}, byte ${part.position}: ${part.problem}: a half-written end`)
    }
  }
}

/** Something that the dump has no line for. */
function tell(what: string): void {
  process.stderr.write(`ratatoskr: ${what}\n`)
  process.exitCode = exitCodes.failure
}

type LinesOf = (bytes: Uint8Array, at: number) => Iterable<object>

function messageLines(
  { text }: DumpFlags,
  { from, to }: { readonly from: number; readonly to: number },
  codecs: Parameters<typeof messagesOf>[1]['expansion']['codecs'],
): LinesOf {
  const source = {
    topic: '',
    topicId: '00000000-0000-0000-0000-000000000000',
    partition: 0,
    expansion: { codecs, bytesMax: expandedBytesMax },
  }
  return function* lines(bytes, at) {
    const batch = bytes.subarray(at, at + batchSizeOf(bytes, at))
    for (const message of messagesOf(batch, source)) {
      if (message.offset < from || message.offset >= to) continue
      const { topic: _, partition: __, ...fields } = messageToJson(message, text ? 'utf8' : 'base64')
      yield fields
    }
  }
}

async function stateLines({ text }: DumpFlags): Promise<LinesOf> {
  const { dumpedChanges } = await import('ratatoskr/adapters/disk')
  return (bytes, at) =>
    dumpedChanges(bytes, at).map(({ key, version, value }, i) => {
      const shown = value === undefined ? null : text ? utf8Text(value) : toBase64(value)
      return { offset: baseOffsetOf(bytes, at) + i, key, version, value: shown }
    })
}

const headerOf = (bytes: Uint8Array, at: number, position: number) => ({
  position,
  baseOffset: baseOffsetOf(bytes, at),
  records: recordCountOf(bytes, at),
  sizeBytes: batchSizeOf(bytes, at),
  leaderEpoch: leaderEpochOf(bytes, at),
  crc: crcOf(bytes, at),
  attributes: attributesOf(bytes, at),
  compression: compressionOf(bytes, at),
  maxTimestamp: maxTimestampOf(bytes, at),
  producerId: producerIdOf(bytes, at),
})

function offsetOf(option: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  const offset = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(offset)) return offset
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${option} takes an offset, a whole number, got ${JSON.stringify(text)}`,
  )
}

const directoryOf = async (directory: string | undefined): Promise<string> =>
  directory ?? (await loadConfigOf({})).config.storage.directory

function assertFormat(output: OutputFormat): void {
  if (outputFormats.includes(output)) return
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `-o takes ${outputFormats.join(', ')}, got ${JSON.stringify(output)}`,
  )
}

export async function verifyLogs(
  directory: string | undefined,
  { output }: { readonly output: OutputFormat },
): Promise<void> {
  assertFormat(output)
  const progress = new Progress('log verify')
  const rows: Finding[] = []
  const counts = { ok: 0, info: 0, warning: 0, error: 0 }
  for await (const finding of findingsOf(await directoryOf(directory), progress)) {
    counts[finding.severity]++
    // One line each is printed at once: a directory may have very many files.
    if (output === 'ndjson') await write(process.stdout, `${JSON.stringify(finding)}\n`)
    else rows.push(finding)
  }
  const verdict =
    counts.error > 0
      ? `${counts.error} errors: something is lost, or the broker would refuse it`
      : 'no damage'
  progress.finish(`${verdict}; ${counts.ok} files ok, ${counts.warning} warnings, ${counts.info} remarks`)
  if (output !== 'ndjson') {
    const columns = ['severity', 'file', 'state', 'batches', 'records', 'sizeBytes', 'problem', 'advice']
    await printRows(rows, columns, output)
  }
  if (counts.error > 0) process.exitCode = exitCodes.failure
}

/** What is found in the directories of all workers. */
async function* findingsOf(directory: string, progress: Progress): AsyncGenerator<Finding> {
  const { verifyDataDirectory } = await import('ratatoskr/adapters/disk')
  const { nodePlatform } = await import('ratatoskr/adapters/node')
  const { partName, partsOf } = await import('../workers/directory-parts.ts')
  const { parts, problem, advice } = await partsOf(directory)
  const { checksum } = nodePlatform()
  if (problem !== undefined) {
    const refused = `${problem}: the broker refuses to start`
    yield {
      severity: 'error',
      ...{ file: 'workers/count', state: 'refused', problem: refused },
      ...(advice && { advice }),
    }
  }
  for (const part of parts) {
    const file = partName(part)
    const findings = verifyDataDirectory(part, checksum, (done, total) =>
      progress.update(
        `${file}${file && ': '}${mebibytes(done)} of ${mebibytes(total)} MiB, ${Math.floor((100 * done) / Math.max(1, total))} %`,
      ),
    )
    try {
      yield* findings
    } catch (error) {
      // What is found in the others counts all the same.
      if (part.index === 0 || !isRatatoskrError(error)) throw error
      yield { severity: 'error', file, state: 'refused', problem: error.message }
    }
  }
}

export interface RepairFlags {
  readonly output: OutputFormat
  readonly dryRun?: boolean
  readonly acceptLoss?: boolean
  readonly setAside?: readonly string[]
}

export async function repairLogs(directory: string | undefined, flags: RepairFlags): Promise<void> {
  assertFormat(flags.output)
  const { dryRun = false } = flags
  const progress = new Progress('log repair')
  const rows: object[] = []
  const counts = { done: 0, 'would do': 0, 'not done': 0 }
  for await (const step of stepsOf(await directoryOf(directory), flags, progress)) {
    // A log without a topic is told of, and nothing that a repair could do.
    if (step.action !== 'orphan') counts[step.result]++
    rows.push(step)
  }
  const done = dryRun ? `${counts['would do']} things to do` : `${counts.done} things done`
  progress.finish(`${done}, ${counts['not done']} not possible without a decision`)
  await printRows(rows, ['result', 'action', 'file', 'reason', 'advice'], flags.output)
  if (counts['not done'] > 0) process.exitCode = exitCodes.failure
}

/**
 * Repairs the directories of all workers, one after the other.
 * @throws RTK_CONFIG_INVALID when nobody can tell how many there are
 */
async function* stepsOf(
  directory: string,
  { dryRun = false, acceptLoss = false, setAside = [] }: RepairFlags,
  progress: Progress,
): AsyncGenerator<RepairStep> {
  const { repairDataDirectory } = await import('ratatoskr/adapters/disk')
  const { nodePlatform } = await import('ratatoskr/adapters/node')
  const { partName, partsOf, pathsWithin } = await import('../workers/directory-parts.ts')
  const { parts, problem, advice } = await partsOf(directory)
  if (problem !== undefined) throw new RatatoskrError('RTK_CONFIG_INVALID', `${problem}; ${advice}`)
  for (const part of parts) {
    const file = partName(part)
    const options = { dryRun, acceptLoss, setAside: pathsWithin(part, setAside) }
    const steps = repairDataDirectory(part, nodePlatform(), options, (done) =>
      progress.update(`${file}${file && ': '}${mebibytes(done)} MiB read`),
    )
    try {
      yield* steps
    } catch (error) {
      if (part.index === 0 || !isRatatoskrError(error)) throw error
      yield { action: 'put right', file, result: 'not done', reason: error.message }
    }
  }
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / (1024 * 1024))
