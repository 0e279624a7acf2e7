/** Logs in memory. What is in them is gone when the store stops. */
import {
  assertLogId,
  closedError,
  type LogId,
  type LogStore,
  type LogStoreSupports,
  LogStoreTally,
  type OpenLogOptions,
  type PartitionLog,
  RatatoskrError,
} from 'ratatoskr/ports'
import { type MemoryBudget, MemoryLog } from './memory-log.ts'

interface Entry {
  readonly id: LogId
  log: MemoryLog | undefined
  open: boolean
}

export class MemoryLogStore implements LogStore {
  readonly name = 'memory'
  readonly supports: LogStoreSupports = Object.freeze({
    durability: Object.freeze(['memory'] as const),
    reopen: false,
    timeIndex: true,
    truncateAfter: true,
    fencing: false,
  })
  readonly counters = new LogStoreTally()
  readonly #budget: MemoryBudget
  readonly #logs = new Map<string, Entry>()
  #started = false

  constructor(bounds: { readonly bytesMax: number; readonly messagesMax: number }) {
    this.#budget = { ...bounds, bytes: 0, messages: 0, counters: this.counters }
  }

  async start(): Promise<void> {
    this.#started = true
  }

  async stop(): Promise<void> {
    this.#started = false
    for (const { log } of this.#logs.values()) log?.discard()
    this.#logs.clear()
  }

  async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    if (!this.#started) throw closedError('the memory store')
    assertLogId(id)
    const key = keyOf(id)
    const known: Entry | undefined = this.#logs.get(key)
    if (known?.open) {
      throw new RatatoskrError('RTK_INTERNAL', 'the log is open already: a partition has one owner')
    }
    const entry: Entry = known ?? {
      id: { topicId: id.topicId, partition: id.partition },
      open: false,
      log: undefined,
    }
    const onClose = (): void => {
      entry.open = false
    }
    const log =
      entry.log?.handOver(options.segmentBytes, onClose) ??
      new MemoryLog(this.#budget, options.segmentBytes, onClose)
    entry.log = log
    entry.open = true
    this.#logs.set(key, entry)
    return log
  }

  async *listLogs(): AsyncGenerator<LogId, void, undefined> {
    if (!this.#started) throw closedError('the memory store')
    yield* [...this.#logs.values()].map(({ id }) => id)
  }

  async deleteLog(id: LogId): Promise<void> {
    if (!this.#started) throw closedError('the memory store')
    assertLogId(id)
    this.#logs.get(keyOf(id))?.log?.discard()
    this.#logs.delete(keyOf(id))
  }
}

const keyOf = (id: LogId): string => `${id.topicId}/${id.partition}`
