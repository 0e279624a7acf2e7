import { giveBackBytes, keepBytes } from 'ratatoskr/ports'
import { expect, it, onTestFinished, vi } from 'vitest'
import { usedAgain } from './batch-memory.ts'

/** A batch that was read, kept by a log, and is gone. */
function passThrough(takeBytes: (bytes: number) => Uint8Array): void {
  const bytes = takeBytes(100_000)
  const kept = keepBytes(bytes)
  giveBackBytes(bytes)
  kept?.giveBack()
}

it('serves one batch after the other from the same memory, and keeps none of it when it is quiet', () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const takeBytes = usedAgain()
  const allocated = vi.spyOn(Buffer, 'allocUnsafeSlow')
  onTestFinished(() => {
    vi.useRealTimers()
    allocated.mockRestore()
  })
  for (let i = 0; i < 20; i++) passThrough(takeBytes)
  expect(allocated).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(5_000) // one interval in which it was used,
  passThrough(takeBytes)
  expect(allocated).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(10_000) // and one in which it was not
  expect(vi.getTimerCount()).toBe(0)
  passThrough(takeBytes)
  expect(allocated).toHaveBeenCalledTimes(2)
  expect(vi.getTimerCount()).toBe(1)
})
