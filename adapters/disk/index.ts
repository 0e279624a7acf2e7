/**
 * `ratatoskr/adapters/disk`: storage in a directory of this machine, that keeps its word through crashes.
 * Levels: `os` (written), `interval` (written, synced within `syncIntervalMs`), `fsync` (synced before the ack).
 */
import { resolve } from 'node:path'
import { type FileSystem, LogStoreTally, type Storage } from 'ratatoskr/ports'
import { DataDirectory } from './files/data-directory.ts'
import { affordableAtOnce, affordableFiles, descriptorLimit } from './files/descriptor-limit.ts'
import { FilePool } from './files/file-pool.ts'
import { Gate } from './files/gate.ts'
import { nodeFileSystem } from './files/node-file-system.ts'
import { ReservedFileSystem } from './files/reserved-file-system.ts'
import { SpaceReserve } from './files/space-reserve.ts'
import { DiskLogStore } from './log/disk-log-store.ts'
import { HotBudget } from './log/hot-budget.ts'
import { Quarantine } from './log/quarantine.ts'
import { IndexCache } from './log/store-context.ts'
import { DiskStateStore } from './state/disk-state-store.ts'
import { StateLog } from './state/state-log.ts'

export type { DirectoryLock, DiskFile, FileSystem, OpenMode } from 'ratatoskr/ports'
export type { DirectoryPart } from './tools/directory-part.ts'
export type { Finding } from './tools/finding.ts'
export {
  batchFileNameOf,
  type DumpedPart,
  dumpBatches,
  dumpedChanges,
} from './tools/inspect.ts'
export { verifyDataDirectory } from './tools/inspect-directory.ts'
export { type RepairOptions, type RepairStep, repairDataDirectory } from './tools/repair.ts'

/** Where the disk storage keeps its files, and how much it holds open and in memory. */
export interface DiskStorageOptions {
  /** Where everything is kept; made when it is not there, empty or Ratatoskr's own otherwise. */
  readonly directory: string
  /** How long an append of level `interval` may wait for its sync. Default 50. */
  readonly syncIntervalMs?: number
  /** Bytes of recent batches kept in memory, all logs together. Default 64 MiB. */
  readonly hotBytesMax?: number
  /**
   * Segment files open at once; what needs another waits. A few dozen descriptors come on top. Default 512, and less where the
   * process may not open so many.
   */
  readonly openFilesMax?: number
  /** Bytes kept on the disk so that topics can still be deleted when it is full. Default 256 KiB. */
  readonly reserveBytes?: number
  /** Another file system than the machine's own: for tests. */
  readonly fileSystem?: FileSystem
}

const indexesInMemoryMax = 64
const indexFilesMax = 32
// Thousands may be opened at once: what they hold meanwhile, descriptors among it, is bounded.
const openingsMax = 64
const directoriesMax = 64

/** Storage on the local disk. */
export function diskStorage(options: DiskStorageOptions): Storage {
  if (typeof options?.directory !== 'string' || options.directory === '') {
    throw new TypeError('diskStorage: directory must be the path of a directory')
  }
  const syncIntervalMs = wholeNumber('syncIntervalMs', options.syncIntervalMs ?? 50)
  const hotBytesMax = wholeNumber('hotBytesMax', options.hotBytesMax ?? 64 * 1024 * 1024)
  const openFilesMax = wholeNumber('openFilesMax', options.openFilesMax ?? 512)
  const reserveBytes = wholeNumber('reserveBytes', options.reserveBytes ?? 256 * 1024)
  const inner = options.fileSystem ?? nodeFileSystem
  const path = resolve(options.directory)
  return {
    name: 'disk',
    open({ checksum, clock, logger }) {
      const limit = options.fileSystem === undefined ? descriptorLimit() : Number.POSITIVE_INFINITY
      const filesMax = affordableFiles(openFilesMax, limit)
      const fileSystem = new ReservedFileSystem(inner, affordableAtOnce(directoriesMax, limit))
      const directory = new DataDirectory(fileSystem, path)
      const log = logger.child({ component: 'disk' })
      const tally = new LogStoreTally()
      const reserve = new SpaceReserve(fileSystem, `${path}/reserve`, reserveBytes)
      const files = new FilePool(fileSystem, filesMax, tally)
      if (filesMax < openFilesMax) {
        log.info(
          'this process may open few descriptors: less files of logs are kept open; raise `ulimit -n`',
          {
            limit,
            openFilesMax,
            keptOpenMax: filesMax,
          },
        )
      }
      fileSystem.onScarce = () => files.giveUpIdle()
      const context = {
        fileSystem,
        files,
        hotBudget: new HotBudget(hotBytesMax, tally),
        indexes: new IndexCache(indexesInMemoryMax),
        indexFiles: new Gate(affordableAtOnce(indexFilesMax, limit)),
        openings: new Gate(affordableAtOnce(openingsMax, limit)),
        quarantine: new Quarantine(fileSystem, path),
        tally,
        reserve,
        checksum,
        clock,
        logger: log,
        syncIntervalMs,
      }
      const stateLog = new StateLog(fileSystem, `${path}/state`, checksum)
      return {
        logs: new DiskLogStore(context, directory, () => stateLog.note),
        state: new DiskStateStore(stateLog, reserve, directory, clock, log),
      }
    },
  }
}

function wholeNumber(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new TypeError(`diskStorage: ${name} must be a whole number of at least 1, got ${String(value)}`)
}
