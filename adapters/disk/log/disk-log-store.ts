/** Logs on disk: one directory a partition. */
import {
  assertLogId,
  closedError,
  type LogId,
  type LogStore,
  type LogStoreCounters,
  type LogStoreSupports,
  type OpenLogOptions,
  type PartitionLog,
  RatatoskrError,
} from 'ratatoskr/ports'
import type { DataDirectory } from '../files/data-directory.ts'
import { type CleanLogs, encodeClean, type StateNote, takeCleanFile, writeCleanFile } from './clean-file.ts'
import { DiskLog } from './disk-log.ts'
import { standInForNoted } from './missing-files.ts'
import { adoptSegments, recoverSegments } from './recovery.ts'
import { RecoveryReport } from './recovery-report.ts'
import type { Segment } from './segment.ts'
import { noteAccepted } from './segment-damage.ts'
import type { StoreContext } from './store-context.ts'
import { openFailed, storeFailed } from './store-errors.ts'

// One after the other, the listings of thousands of topics would be most of a start.
const listingsMax = 64

interface Entry {
  log: DiskLog | undefined
}

export class DiskLogStore implements LogStore {
  readonly name = 'disk'
  readonly supports: LogStoreSupports = Object.freeze({
    durability: Object.freeze(['os', 'interval', 'fsync'] as const),
    reopen: true,
    timeIndex: true,
    truncateAfter: true,
    fencing: false,
  })
  readonly counters: LogStoreCounters
  readonly #context: StoreContext
  readonly #directory: DataDirectory
  readonly #stateNote: () => StateNote | undefined
  readonly #open = new Map<string, Entry>()
  /** Logs that failed, each with the offset from which on its files hold what nobody was promised. */
  readonly #doubtful = new Map<string, number>()
  /** What the files of logs hold that are not open and were closed well, in this run or the one before. */
  #clean: CleanLogs = new Map()
  readonly #report: RecoveryReport
  /** Openings and deletions that are under way. */
  readonly #busy = new Map<string, Promise<unknown>>()
  #started: Promise<void> | undefined
  #trashed = 0

  /** @param stateNote how far the state goes that is beside the logs */
  constructor(context: StoreContext, directory: DataDirectory, stateNote: () => StateNote | undefined) {
    this.#context = context
    this.#stateNote = stateNote
    this.counters = context.tally
    this.#report = new RecoveryReport(context.clock, context.logger)
    this.#directory = directory
  }

  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined
      throw storeFailed(error)
    })
    return this.#started
  }

  async stop(): Promise<void> {
    const started = this.#started
    if (started === undefined) return
    this.#started = undefined
    await started
    await Promise.allSettled([...this.#busy.values()])
    await Promise.all([...this.#open.values()].map((entry) => entry.log?.close()))
    await this.#context.files.closeIdle()
    this.#report.end()
    await this.#leaveClean()
    await this.#context.fileSystem.release()
    await this.#directory.release()
  }

  async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    this.#assertStarted()
    assertLogId(id)
    const key = keyOf(id)
    if (this.#open.has(key)) {
      throw new RatatoskrError('RTK_INTERNAL', 'the log is open already: a partition has one owner')
    }
    const entry: Entry = { log: undefined }
    this.#open.set(key, entry)
    try {
      entry.log = await this.#exclusively(key, () =>
        this.#context.openings.run(() => this.#openLog(key, options)),
      )
      if (this.#started !== undefined) return entry.log
      await entry.log.close()
      throw closedError('the disk store')
    } catch (error) {
      this.#open.delete(key)
      throw openFailed(error)
    }
  }

  async *listLogs(): AsyncGenerator<LogId, void, undefined> {
    this.#assertStarted()
    const { fileSystem } = this.#context
    const topicIds = await fileSystem.list(this.#logs)
    for (let from = 0; from < topicIds.length; from += listingsMax) {
      const some = topicIds.slice(from, from + listingsMax)
      const names = await Promise.all(some.map((topicId) => fileSystem.list(`${this.#logs}/${topicId}`)))
      yield* some.flatMap((topicId, i) => logsOf(topicId, names[i]))
      for (const [i, topicId] of some.entries()) if (names[i].length === 0) await this.#dropTopic(topicId)
    }
  }

  async deleteLog(id: LogId): Promise<void> {
    this.#assertStarted()
    assertLogId(id)
    const key = keyOf(id)
    await this.#exclusively(key, async () => {
      await this.#open.get(key)?.log?.close()
      this.#doubtful.delete(key)
      this.#clean.delete(key)
      await this.#trash(id)
    }).catch((error: unknown) => {
      throw storeFailed(error)
    })
    await this.#dropTopic(id.topicId)
  }

  get #logs(): string {
    return `${this.#directory.path}/logs`
  }

  get #trashPath(): string {
    return `${this.#directory.path}/trash`
  }

  #assertStarted(): void {
    if (this.#started === undefined) throw closedError('the disk store')
  }

  async #start(): Promise<void> {
    await this.#directory.acquire()
    this.#context.files.keepOpen()
    try {
      await this.#context.fileSystem.reserve(`${this.#directory.path}/format.json`)
      await this.#emptyTrash()
      await this.#context.fileSystem.makeDirectory(this.#trashPath)
      await this.#context.fileSystem.makeDirectory(this.#logs)
      await this.#takeClean()
    } catch (error) {
      await this.#context.fileSystem.release()
      await this.#directory.release()
      throw error
    }
  }

  /** What the last run left is gone from the disk before anything changes that it speaks of. */
  async #takeClean(): Promise<void> {
    const { fileSystem, checksum } = this.#context
    const { path } = this.#directory
    const clean = await takeCleanFile(fileSystem, path, checksum)
    await fileSystem.syncDirectory(path)
    this.#clean = clean?.logs ?? new Map()
    if (clean === undefined && (await fileSystem.list(this.#logs)).length > 0) this.#report.begin()
  }

  /** Notes what is in every log that was closed well, so that the next start need not look, and how far the state goes. */
  async #leaveClean(): Promise<void> {
    const { fileSystem, checksum, logger } = this.#context
    try {
      const note = { logs: this.#clean, state: this.#stateNote() }
      await writeCleanFile(fileSystem, this.#directory.path, encodeClean(note, checksum))
    } catch (error) {
      logger.warn('the clean stop could not be noted; the next start looks into every log', { error })
    }
  }

  async #openLog(key: string, options: OpenLogOptions): Promise<DiskLog> {
    const directory = `${this.#logs}/${key}`
    const parents = [directory.slice(0, directory.lastIndexOf('/')), this.#logs]
    const doubtfulFrom = this.#doubtful.get(key)
    const wasMissing = options.known === true && (await this.#isMissing(key))
    const segments = await this.#segmentsOf(key, directory, parents)
    // Whoever takes it for known from now on must find it, after a power cut as well.
    if (segments.length === 0 && options.known !== true) {
      for (const path of parents) await this.#context.fileSystem.syncDirectory(path)
    }
    const log = new DiskLog(this.#context, {
      key,
      directory,
      segmentBytes: options.segmentBytes,
      segments,
      newDirectories: parents,
      wasMissing,
      onClose: (doubtfulFrom, segments) => {
        this.#open.delete(key)
        if (doubtfulFrom !== undefined) this.#doubtful.set(key, doubtfulFrom)
        if (segments !== undefined) this.#clean.set(key, segments)
      },
    })
    if (doubtfulFrom !== undefined && doubtfulFrom < log.endOffset) await log.truncateAfter(doubtfulFrom)
    this.#doubtful.delete(key)
    return log
  }

  /** True, and told, when the directory of a log that was there is not. What a clean stop has noted is known better. */
  async #isMissing(key: string): Promise<boolean> {
    if (this.#clean.has(key)) return false
    const [topicId, partition] = key.split('/')
    if ((await this.#context.fileSystem.list(`${this.#logs}/${topicId}`)).includes(partition)) return false
    this.#context.logger.error(
      'the directory of a log is missing: what it held is lost, and the log begins anew; stop the broker and put the directory back if it was moved',
      { log: key },
    )
    return true
  }

  /** The segments of a log: as they were noted when it was closed well, or as its files are found. */
  async #segmentsOf(key: string, directory: string, parents: readonly string[]): Promise<readonly Segment[]> {
    const noted = this.#clean.get(key) ?? []
    if (noted.length > 0) {
      const adopted = await adoptSegments(this.#context, directory, noted).catch(() => undefined)
      if (adopted !== undefined) {
        this.#clean.delete(key)
        for (const segment of adopted) await noteAccepted(this.#context, segment)
        return adopted
      }
      this.#context.logger.warn('the files of a log are not those that were closed; they are checked', {
        log: key,
      })
      await standInForNoted(this.#context, directory, noted)
    }
    // Until here a failure leaves the note for the next try: nothing was written that it does not speak of.
    this.#clean.delete(key)
    const hasFailed = this.#doubtful.has(key)
    try {
      const { segments, scannedBytes } = await recoverSegments(this.#context, directory, parents, hasFailed)
      this.#report.add(scannedBytes)
      return segments
    } catch (error) {
      // It may have been a sync of the log.
      if (!hasFailed) this.#doubtful.set(key, Number.MAX_SAFE_INTEGER)
      throw error
    }
  }

  /** Takes a log away with one rename, so that a crash leaves all of it or nothing; then removes the files. */
  async #trash({ topicId, partition }: LogId): Promise<void> {
    const { fileSystem, files } = this.#context
    const topicDirectory = `${this.#logs}/${topicId}`
    const directory = `${topicDirectory}/${partition}`
    const names = await fileSystem.list(topicDirectory)
    if (!names.includes(String(partition))) {
      // An earlier try may have failed after the rename.
      if ((await fileSystem.list(this.#logs)).includes(topicId))
        await fileSystem.syncDirectory(topicDirectory)
      return
    }
    for (const name of await fileSystem.list(directory)) await files.discard(`${directory}/${name}`)
    const trash = `${this.#trashPath}/${topicId}-${partition}-${this.#trashed++}`
    await fileSystem.rename(directory, trash)
    await fileSystem.syncDirectory(topicDirectory)
    await fileSystem.syncDirectory(this.#trashPath)
    await fileSystem.removeTree(trash)
  }

  /**
   * Removes the directory of a topic without logs. A failure leaves an empty directory, which the next listing of the logs
   * removes. Nothing of the topic is opened or deleted meanwhile: see `#exclusively`.
   */
  async #dropTopic(topicId: string): Promise<void> {
    const isBusy = [...this.#busy.keys()].some((key) => key.startsWith(topicId))
    if (isBusy || this.#started === undefined || !isTopicId(topicId)) return
    const { fileSystem } = this.#context
    const path = `${this.#logs}/${topicId}`
    await this.#exclusively(topicId, async () => {
      if ((await fileSystem.list(path)).length > 0) return
      // Fails where something else stands in the directory's place, which lists as empty, too: that is not ours to remove.
      await fileSystem.makeDirectory(path)
      await fileSystem.removeTree(path)
    }).catch(() => undefined)
  }

  /**
   * Removes what is left of deleted logs. Where a crash came before their renames were durable, those must be first: a power
   * cut would else bring logs back without the files that were removed by then.
   */
  async #emptyTrash(): Promise<void> {
    const { fileSystem } = this.#context
    const trashed = await fileSystem.list(this.#trashPath)
    if (trashed.length > 0) {
      const topicIds = await fileSystem.list(this.#logs)
      const concerned = topicIds.filter((topicId) => trashed.some((name) => name.startsWith(topicId)))
      for (const topicId of concerned) await fileSystem.syncDirectory(`${this.#logs}/${topicId}`)
      await fileSystem.syncDirectory(this.#trashPath)
    }
    await fileSystem.removeTree(this.#trashPath)
  }

  /** Runs one thing at a time for each log, and for a topic's directory when nothing runs for any log in it. */
  async #exclusively<T>(key: string, run: () => Promise<T>): Promise<T> {
    const before = this.#busy.get(key) ?? this.#busy.get(topicIdOf(key)) ?? Promise.resolve()
    const mine = before.then(run, run)
    this.#busy.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.#busy.get(key) === mine) this.#busy.delete(key)
    }
  }
}

const keyOf = (id: LogId): string => `${id.topicId}/${id.partition}`
const topicIdOf = (key: string): string => key.slice(0, key.indexOf('/'))

/** The logs among what a topic's directory holds; anything else in there is left alone. */
const logsOf = (topicId: string, names: readonly string[]): LogId[] =>
  names.map((name) => ({ topicId, partition: Number(name) })).filter((id, i) => isLogId(id, names[i]))

const isTopicId = (name: string): boolean => isLogId({ topicId: name, partition: 0 }, '0')

function isLogId(id: LogId, name: string): boolean {
  try {
    assertLogId(id)
    return String(id.partition) === name
  } catch {
    return false
  }
}
