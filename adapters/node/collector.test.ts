import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

/** Holds 1 GiB of buffers that nobody touches, replaces all of them three times, and prints how often the whole heap was collected. */
const churn = `
  import { setImmediate } from 'node:timers/promises'
  import { constants, PerformanceObserver } from 'node:perf_hooks'
  import { paceCollector } from 'ratatoskr/adapters/node'
  if (process.argv[1] === 'paced') paceCollector()
  let collections = 0
  const count = (list) => {
    for (const { detail } of list.getEntries()) if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) collections++
  }
  const observer = new PerformanceObserver(count)
  observer.observe({ entryTypes: ['gc'] })
  const held = []
  for (let i = 0; i < 4096; i++) {
    held[i % 1024] = Buffer.allocUnsafeSlow(1024 * 1024)
    await setImmediate()
  }
  await setImmediate()
  count({ getEntries: () => observer.takeRecords() })
  console.log(collections)
  process.exit()
`

async function collections(how: string): Promise<number> {
  const flags = ['--conditions=source', '--input-type=module', '--eval', churn, how]
  const { stdout } = await promisify(execFile)(process.execPath, flags)
  return Number(stdout)
}

it('collects far less often while large buffers come and go', async () => {
  const paced = await collections('paced')
  expect(paced).toBeLessThan((await collections('as it is')) / 1.5)
})
