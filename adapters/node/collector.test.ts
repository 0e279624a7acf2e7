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

/** Keeps 20 MB of small objects among as many that it drops, as loading a program does, and prints what the heap takes for young ones. */
const load = `
  import { getHeapSpaceStatistics } from 'node:v8'
  import { keepHeapSmall } from 'ratatoskr/adapters/node'
  const small = process.argv[1] === 'small' ? keepHeapSmall() : undefined
  const kept = []
  const make = (count) => { for (let i = 0; i < count; i++) kept[i % 300_000] = { i, next: [i] } }
  make(600_000)
  small?.[Symbol.dispose]()
  if (process.argv[2] === 'then load') make(3_000_000)
  console.log(getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').physical_space_size / 1e6)
`

async function youngMegabytes(...words: string[]): Promise<number> {
  const flags = ['--conditions=source', '--input-type=module', '--eval', load, ...words]
  const { stdout } = await promisify(execFile)(process.execPath, flags)
  return Number(stdout)
}

it('takes little for young objects while the heap is to be small, and grows with the load afterwards', async () => {
  const small = await youngMegabytes('small')
  expect(small).toBeLessThan(8)
  expect(await youngMegabytes('as it is')).toBeGreaterThan(2 * small)
  expect(await youngMegabytes('small', 'then load')).toBeGreaterThan(2 * small)
})
