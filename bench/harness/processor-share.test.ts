import { execFile } from 'node:child_process'
import { cpus } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { withShare } from './processor-share.ts'

const busy = 'const from = process.cpuUsage(); while (process.cpuUsage(from).user < 400_000);'

it('counts what processes took that have ended', async () => {
  const { result, processors } = await withShare(async () => {
    await promisify(execFile)(process.execPath, ['-e', busy])
    return 'done'
  })
  expect(result).toBe('done')
  const { cpuSeconds = 0, seconds = 0, share, cores } = processors ?? {}
  expect(cpuSeconds).toBeGreaterThan(0.35)
  expect(cores).toBe(cpus().length)
  expect(share).toBeCloseTo(cpuSeconds / (seconds * cpus().length), 2)
})

it('counts what is done here, and no time that passes', async () => {
  const worked = await withShare(async () => {
    const from = process.cpuUsage()
    while (process.cpuUsage(from).user < 100_000);
  })
  const waited = await withShare(() => pause(100))
  expect(worked.processors?.cpuSeconds).toBeGreaterThan(0.09)
  expect(waited.processors?.seconds).toBeGreaterThan(0.09)
  expect(waited.processors?.cpuSeconds).toBeLessThan(worked.processors?.cpuSeconds as number)
})
