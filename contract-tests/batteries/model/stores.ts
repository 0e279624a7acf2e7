/** What outlives the lives of the broker in a run: a memory that is kept, or a simulated disk that forgets at power cuts. */
import { diskStorage } from 'ratatoskr/adapters/disk'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { type SimulatedDisk, simulatedDisk } from 'ratatoskr/contract-tests'
import type { LogStore, PartitionLog, Platform, StateStore, Stores } from 'ratatoskr/ports'

export type Crash = 'kill' | 'power'

/** A storage that can be opened again after a crash. */
export interface LastingStorage {
  /** For the next life. */
  open(platform: Platform): Stores
  /** The life ends at once. */
  crash(how: Crash): Promise<void>
}

export function lastingStorage(kind: 'memory' | 'disk', seed: number): LastingStorage {
  return kind === 'memory' ? new KeptMemory() : new KeptDisk(seed)
}

/** A kill and a power cut are the same to it: what was taken stays. */
class KeptMemory implements LastingStorage {
  #stores: Stores | undefined
  #logs = new Set<PartitionLog>()

  open(platform: Platform): Stores {
    this.#stores ??= memoryStorage().open(platform)
    const { logs, state } = this.#stores
    return { logs: this.#keptLogs(logs), state: keptState(state) }
  }

  async crash(): Promise<void> {
    const open = [...this.#logs]
    this.#logs.clear()
    await Promise.all(open.map((log) => log.close()))
  }

  #keptLogs(inner: LogStore): LogStore {
    return {
      name: inner.name,
      supports: inner.supports,
      counters: inner.counters,
      start: () => inner.start(),
      stop: () => this.crash(),
      listLogs: () => inner.listLogs(),
      deleteLog: (id) => inner.deleteLog(id),
      openLog: async (id, options) => {
        const log = await inner.openLog(id, options)
        this.#logs.add(log)
        return log
      },
    }
  }
}

/** The same store, which does not forget when it is stopped. */
const keptState = (inner: StateStore): StateStore => ({
  name: inner.name,
  supports: inner.supports,
  start: () => inner.start(),
  stop: async () => {},
  list: (prefix) => inner.list(prefix),
  get: (key) => inner.get(key),
  put: (key, value, version) => inner.put(key, value, version),
  putMany: (changes) => inner.putMany(changes),
  delete: (key, version) => inner.delete(key, version),
})

class KeptDisk implements LastingStorage {
  #disk: SimulatedDisk

  constructor(seed: number) {
    this.#disk = simulatedDisk({ seed, keepTrace: false })
  }

  open(platform: Platform): Stores {
    const options = { directory: '/data', fileSystem: this.#disk, reserveBytes: 512 }
    return diskStorage(options).open(platform)
  }

  async crash(how: Crash): Promise<void> {
    this.#disk = how === 'kill' ? this.#disk.fork() : this.#disk.powerCut()
  }
}
