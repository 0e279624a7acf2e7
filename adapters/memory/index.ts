/**
 * `ratatoskr/adapters/memory`: storage in this process's memory, for tests, caches and fan-out that nobody replays.
 * Bounded by bytes and messages: at the bound publishes are refused with RTK_STORE_FULL, and nothing is dropped.
 */
import type { Storage } from 'ratatoskr/ports'
import { MemoryLogStore } from './memory-log-store.ts'
import { MemoryStateStore } from './memory-state-store.ts'

/** How much the memory storage may hold. */
export interface MemoryStorageOptions {
  /** Bytes of batches, all logs together. Default 1 GiB. */
  readonly bytesMax?: number
  /** Messages, all logs together. Default 100 million. */
  readonly messagesMax?: number
  /** Bytes of state keys and values. Default 64 MiB. */
  readonly stateBytesMax?: number
}

const MIB = 1024 * 1024

/** Storage that lives and dies with the process: durability `memory`. */
export function memoryStorage(options: MemoryStorageOptions = {}): Storage {
  const bytesMax = bound('bytesMax', options.bytesMax ?? 1024 * MIB)
  const messagesMax = bound('messagesMax', options.messagesMax ?? 100_000_000)
  const stateBytesMax = bound('stateBytesMax', options.stateBytesMax ?? 64 * MIB)
  return {
    name: 'memory',
    open: () => ({
      logs: new MemoryLogStore({ bytesMax, messagesMax }),
      state: new MemoryStateStore(stateBytesMax),
    }),
  }
}

function bound(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new TypeError(`memoryStorage: ${name} must be a whole number of at least 1, got ${String(value)}`)
}
