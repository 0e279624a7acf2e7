/**
 * Opens a damaged data directory with the real store, reads it in every way, and says what is wrong with what came.
 *
 * A batch is intact when its bytes lie where they were, or where the mutation moved them to. An intact batch is owed, unless
 * it cannot be told from one within a payload: when the headers before and after its run of intact batches are both damaged,
 * or when the one before is, and something there looks like a header whose batch would hold all of the run, or a batch was
 * written to a wrong place.
 * What is not owed may be refused by its offsets, or be cut off with everything after it. Whatever is served equals the
 * original.
 */
import { verifyDataDirectory } from 'ratatoskr/adapters/disk'
import {
  batchHeaderBytes,
  batchMagic,
  batchSizeOf,
  isRatatoskrError,
  type LogStore,
  leaderEpochOf,
  magicOf,
  nextOffsetOf,
  type PartitionLog,
  stampBatch,
} from 'ratatoskr/ports'
import type { SimulatedDisk } from '../../simulation/index.ts'
import {
  type Image,
  openStores,
  platform,
  root,
  type StoredBatch,
  type StoredLog,
  stateText,
  writeFile,
} from './image.ts'
import type { Mutation } from './mutations.ts'
import { broken, nameOf, Reading } from './reading.ts'

/** How the store took a mutation. */
export type Outcome = 'harmless' | 'damage declared' | 'end cut off' | 'log refused' | 'directory refused'

/** The image's files as the mutation left them. */
class Damaged {
  readonly #image: Image
  readonly #mutation: Mutation

  constructor(image: Image, mutation: Mutation) {
    this.#image = image
    this.#mutation = mutation
  }

  contents(path: string): Uint8Array | undefined {
    const { files } = this.#mutation
    return files.has(path) ? files.get(path) : this.#image.files.get(path)
  }

  /** Where a batch lies now; undefined when it does not. */
  placeOf({ file, position, bytes }: StoredBatch): number | undefined {
    const { shift, files } = this.#mutation
    if (!files.has(file)) return position
    const now = files.get(file)
    const moved = shift?.file === file && position >= shift.position ? position + shift.by : position
    if (now === undefined || moved + bytes.length > now.length) return undefined
    return Buffer.compare(now.subarray(moved, moved + bytes.length), bytes) === 0 ? moved : undefined
  }

  /** The batches that must be served. */
  owed({ batches }: StoredLog): Set<StoredBatch> {
    const owed = new Set<StoredBatch>()
    let run: StoredBatch[] = []
    let begun = true
    for (const [place, batch] of batches.entries()) {
      if (batches[place - 1]?.file !== batch.file) {
        if (begun || !this.#isDoubtful(run)) for (const one of run) owed.add(one)
        run = []
        begun = true
      }
      if (this.placeOf(batch) !== undefined) {
        run.push(batch)
        continue
      }
      const hasHeader = this.#hasHeader(batch)
      if (begun || (hasHeader && !this.#isDoubtful(run))) for (const one of run) owed.add(one)
      run = []
      begun = hasHeader
    }
    if (begun || !this.#isDoubtful(run)) for (const one of run) owed.add(one)
    return owed
  }

  /** True when a batch that is damaged still says where it begins and ends. */
  #hasHeader({ file, position, bytes }: StoredBatch): boolean {
    const now = this.contents(file)?.subarray(position, position + batchHeaderBytes)
    return now?.length === batchHeaderBytes && Buffer.compare(now, bytes.subarray(0, batchHeaderBytes)) === 0
  }

  /**
   * True when something before a run of intact batches looks like the header of one that holds all of it, or when a whole
   * batch stands where it does not belong: it may be taken for right, and its offsets leave no room for the run.
   */
  #isDoubtful(run: readonly StoredBatch[]): boolean {
    const now = run.length > 0 ? this.contents(run[0].file) : undefined
    if (now === undefined) return false
    const [start, last] = [this.placeOf(run[0]) ?? 0, run[run.length - 1]]
    const end = (this.placeOf(last) ?? 0) + last.bytes.length
    for (let at = 0; at < start; at++) {
      const isHeader = magicOf(now, at) === batchMagic && leaderEpochOf(now, at) === 0
      if (isHeader && at + batchSizeOf(now, at) > end) return true
    }
    return this.#hasStray(run[0].file)
  }

  /** True when a batch stands whole in a file elsewhere than where it belongs, perhaps there as well. */
  #hasStray(file: string): boolean {
    const now = Buffer.from(this.contents(file) ?? [])
    const all = this.#image.logs.flatMap(({ batches }) => batches.filter((batch) => batch.file === file))
    return all.some((batch) => {
      const place = this.placeOf(batch)
      const first = now.indexOf(batch.bytes)
      return first !== -1 && (first !== place || now.indexOf(batch.bytes, first + 1) !== -1)
    })
  }

  get paths(): Set<string> {
    const paths = new Set([...this.#image.files.keys(), ...this.#mutation.files.keys()])
    for (const path of paths) if (this.contents(path) === undefined) paths.delete(path)
    return paths
  }
}

/** Puts a mutation on a fork of the image's disk. */
async function damagedDisk(image: Image, mutation: Mutation): Promise<SimulatedDisk> {
  const disk = image.disk.fork()
  for (const [path, bytes] of mutation.files) {
    if (bytes === undefined) await disk.remove(path)
    else await writeFile(disk, path, bytes)
  }
  return disk
}

/**
 * Runs one mutation to its end.
 * @param again also append, start once more and expect the same
 * @throws BrokenPromise
 */
export async function judge(image: Image, mutation: Mutation, again: boolean): Promise<Outcome> {
  const disk = await damagedDisk(image, mutation)
  const damaged = new Damaged(image, mutation)
  const problemsAreFound = await findsProblems(disk.fork())
  const stores = openStores(disk)
  try {
    await stores.state.start()
  } catch (error) {
    return refusedStart(error, mutation, disk, damaged)
  }
  const state = await stateText(stores.state)
  if (state !== image.state) broken(`the state is not what it was: ${difference(image.state, state)}`)
  await stores.logs.start()
  const findings: LogFindings[] = []
  for (const log of image.logs) {
    const touched = [...mutation.files.keys()].some((path) =>
      path.includes(`/${log.id.topicId}/${log.id.partition}/`),
    )
    findings.push(await judgeLog(stores.logs, log, damaged, mutation, touched))
  }
  assertFilesKept(image, disk, damaged)
  const outcome = worst(findings.map((one) => one.outcome))
  if (outcome !== 'harmless' && !problemsAreFound && mutation.leavesNoTrace !== true) {
    broken(`${outcome}, but log verify finds nothing wrong`)
  }
  const longer = again ? await appendToAll(image, findings) : undefined
  await stores.logs.stop()
  await stores.state.stop()
  if (longer !== undefined) await judgeRestart(disk, image, findings, longer)
  return outcome
}

/** @returns true when verify does not say ok to everything */
async function findsProblems(disk: SimulatedDisk): Promise<boolean> {
  try {
    for await (const { severity, state } of verifyDataDirectory(root, platform.checksum, () => {}, disk)) {
      // A torn end is told as what a crash leaves. That no topic of the images' state names their logs tells nothing.
      if (severity === 'error' || severity === 'warning' || state === 'torn') {
        if (state !== 'orphan') return true
      }
    }
    return false
  } catch (error) {
    if (isRatatoskrError(error)) return true
    throw error
  }
}

/** A directory may be refused as a whole only for what says which format it has; then nothing may be touched. */
function refusedStart(error: unknown, mutation: Mutation, disk: SimulatedDisk, damaged: Damaged): Outcome {
  const format = mutation.files.has(`${root}/format.json`)
  if (!format || !isRatatoskrError(error)) broken(`the store does not start: ${String(error)}`)
  for (const path of damaged.paths) {
    if (!isSame(disk, path, damaged.contents(path)))
      broken(`${path} was changed though the start was refused`)
  }
  return 'directory refused'
}

interface LogFindings {
  readonly outcome: Outcome
  readonly owed: ReadonlySet<StoredBatch>
  readonly refused: ReadonlySet<number>
  /** Undefined when it is refused. */
  readonly log: PartitionLog | undefined
}

async function judgeLog(
  store: LogStore,
  stored: StoredLog,
  damaged: Damaged,
  { refusal }: Mutation,
  touched: boolean,
): Promise<LogFindings> {
  const owed = damaged.owed(stored)
  let log: PartitionLog
  try {
    log = await store.openLog(stored.id, { segmentBytes: stored.segmentBytes })
  } catch (error) {
    const isTold = isRatatoskrError(error, 'RTK_STORE_CORRUPT') && error.message !== ''
    if (touched && refusal !== undefined && isTold) {
      return { outcome: 'log refused', owed, refused: new Set(), log: undefined }
    }
    broken(`log ${nameOf(stored)} is refused: ${String(error)}`)
  }
  if (touched && refusal === 'must') broken(`log ${nameOf(stored)} is opened though a segment is there twice`)
  const reading = new Reading(log, stored, owed)
  await reading.run(touched)
  const { refused } = reading
  const isCut = log.endOffset < stored.endOffset
  const outcome = isCut ? 'end cut off' : refused.size > 0 ? 'damage declared' : 'harmless'
  return { outcome, owed, refused, log }
}

/** No segment may be changed or deleted but for the cut of an end that holds no intact batch; a move to quarantine is none. */
function assertFilesKept(image: Image, disk: SimulatedDisk, damaged: Damaged): void {
  const all = image.logs.flatMap(({ batches }) => batches)
  const now = new Set(disk.paths())
  for (const path of damaged.paths) {
    if (!path.endsWith('.log') || !path.startsWith(`${root}/logs/`)) continue
    const before = damaged.contents(path) as Uint8Array
    if (now.has(path) && isSame(disk, path, before)) continue
    const aside = [...now].some((one) => one.includes('/quarantine/') && isSame(disk, one, before))
    if (aside) continue
    if (!now.has(path)) broken(`${path} was deleted by opening`)
    const after = disk.contents(path)
    if (Buffer.compare(after, before.subarray(0, after.length)) !== 0)
      broken(`${path} was changed by opening`)
    for (const batch of all) {
      if (batch.file !== path || damaged.placeOf(batch) === undefined) continue
      // It may have stood there twice: then one of the two is enough.
      if (!Buffer.from(after).includes(batch.bytes)) {
        broken(`${path} was cut to ${after.length} bytes, but batch ${batch.from} is intact`)
      }
    }
  }
}

const isSame = (disk: SimulatedDisk, path: string, bytes: Uint8Array | undefined): boolean =>
  bytes !== undefined && Buffer.compare(disk.contents(path), bytes) === 0

const ranks: readonly Outcome[] = ['harmless', 'damage declared', 'end cut off', 'log refused']
const worst = (outcomes: readonly Outcome[]): Outcome =>
  ranks[Math.max(...outcomes.map((outcome) => ranks.indexOf(outcome)))]

/** Every log that is open takes another batch. @returns the logs as they must be found from now on */
async function appendToAll(
  image: Image,
  findings: readonly LogFindings[],
): Promise<ReadonlyMap<StoredLog, StoredLog>> {
  const longer = new Map<StoredLog, StoredLog>()
  for (const [i, { log }] of findings.entries()) {
    if (log === undefined) continue
    const stored = image.logs[i]
    const from = log.endOffset
    const bytes = image.logs[0].batches[0].bytes.slice()
    stampBatch(bytes, from, 0)
    const to = nextOffsetOf(bytes)
    await log.append(bytes, from, to - from, 'fsync')
    const batch = { ...image.logs[0].batches[0], from, to, bytes, file: 'appended', position: 0 }
    const kept = stored.batches.filter((one) => one.to <= from)
    longer.set(stored, { ...stored, endOffset: to, batches: [...kept, batch] })
    if (Buffer.compare(await log.read(from, 1), bytes) !== 0)
      broken('an append to a damaged log is not read back')
  }
  return longer
}

/** After another start everything is as it was before. */
async function judgeRestart(
  disk: SimulatedDisk,
  image: Image,
  findings: readonly LogFindings[],
  longer: ReadonlyMap<StoredLog, StoredLog>,
): Promise<void> {
  const stores = openStores(disk)
  await stores.state.start()
  if ((await stateText(stores.state)) !== image.state) broken('the state is another after one more start')
  await stores.logs.start()
  for (const [i, { owed, refused }] of findings.entries()) {
    const stored = longer.get(image.logs[i])
    if (stored === undefined) continue
    const log = await stores.logs.openLog(stored.id, { segmentBytes: stored.segmentBytes })
    if (log.endOffset !== stored.endOffset) {
      broken(
        `log ${nameOf(stored)} ends at ${log.endOffset} after one more start, not at ${stored.endOffset}`,
      )
    }
    const appended = stored.batches.slice(-1)
    const reading = new Reading(log, stored, new Set([...owed, ...appended]))
    await reading.run(false)
    if ([...refused].join() !== [...reading.refused].join()) {
      broken(`log ${nameOf(stored)} refuses other offsets after one more start`)
    }
  }
  await stores.logs.stop()
  await stores.state.stop()
}

/** The first line that two texts do not share. */
function difference(expected: string, found: string): string {
  const [wanted, got] = [expected.split('\n'), found.split('\n')]
  const place = wanted.findIndex((line, i) => line !== got[i])
  return place === -1
    ? `${got.length} entries, expected ${wanted.length}`
    : `${got[place]} for ${wanted[place]}`
}
