/** The memory of this thread that connections read large batches into: of those batches that are gone it is used again. */
import { BatchMemory } from 'ratatoskr/ports'

/** As much as logs let go of between two batches that come, when they delete whole segments. */
const freeBytesMax = 64 * 1024 * 1024
/** What was not needed for so long goes back. */
const trimIntervalMs = 5_000

/** Gives bytes that may hold anything; who takes them is their first holder: see `BatchMemory`. */
export function usedAgain(): (bytes: number) => Uint8Array {
  let timer: NodeJS.Timeout | undefined
  const memory = new BatchMemory({
    // Zeroing them would cost as much as copying them.
    allocate: (bytes) => Buffer.allocUnsafeSlow(bytes).buffer as ArrayBuffer,
    freeBytesMax,
    checked: process.env.RATATOSKR_CHECK_MEMORY === '1',
    onFree: () => {
      timer ??= setInterval(trim, trimIntervalMs).unref()
    },
  })
  const trim = (): void => {
    memory.trim()
    if (memory.freeBytes > 0) return
    clearInterval(timer)
    timer = undefined
  }
  return (bytes) => memory.take(bytes)
}

/** The bytes that the connections of this thread read into. */
export const takeBytes = usedAgain()
