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

/** What the heap takes for young objects, in megabytes: the median of what `look` saw lately, and the most that it saw. */
const looking = `
  import { getHeapSpaceStatistics } from 'node:v8'
  let lately = []
  let most = 0
  const look = () => {
    const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')
    lately.push(young.physical_space_size / 1e6)
    most = Math.max(most, lately.at(-1))
  }
  const usual = () => lately.sort((a, b) => a - b)[lately.length >> 1]
`

/** Keeps some megabytes of small objects among as many that it drops, as loading a program does, and then more of the same. */
const load = `${looking}
  import { keepHeapSmall } from 'ratatoskr/adapters/node'
  const small = process.argv[1] === 'small' ? keepHeapSmall() : undefined
  const kept = []
  const make = (count) => {
    for (let i = 0; i < count; i++) {
      kept[i % 300_000] = { i, next: [i] }
      if (i % 10_000 === 0) look()
    }
  }
  make(600_000)
  const whileSmall = usual()
  small?.[Symbol.dispose]()
  make(3_000_000)
  console.log(JSON.stringify([whileSmall, most]))
`

/** Keeps what it makes for two seconds, with pauses or without. */
const work = `${looking}
  import { setImmediate, setTimeout } from 'node:timers/promises'
  import { keepHeapSmallWhileIdle } from 'ratatoskr/adapters/node'
  keepHeapSmallWhileIdle()
  const kept = []
  const make = (count) => { for (let i = 0; i < count; i++) kept.push({ i, next: [i] }) }
  const endMs = performance.now() + 2_500
  while (performance.now() < endMs) {
    if (process.argv[1] === 'idle') { make(5_000); await setTimeout(50) }
    else { make(200); await setImmediate() }
    look()
    if (kept.length > 200_000) kept.length = 0
  }
  console.log(JSON.stringify([usual(), most]))
  process.exit()
`

async function megabytes(program: string, how: string): Promise<number[]> {
  const flags = ['--conditions=source', '--input-type=module', '--eval', program, how]
  return JSON.parse((await promisify(execFile)(process.execPath, flags)).stdout)
}

it('takes little for young objects while the heap is to be small, and grows with the load afterwards', async () => {
  const [small, mostAfterwards] = await megabytes(load, 'small')
  const [, mostAsItIs] = await megabytes(load, 'as it is')
  // V8 doubles that space: half of it, and what it has on the way, on a machine that is busy.
  expect(small).toBeLessThan(mostAsItIs * 0.7)
  expect(small).toBeLessThan(mostAfterwards * 0.7)
})

it('keeps the heap small while the loop is idle, and not while it works', async () => {
  const [[idle], [, mostBusy]] = await Promise.all([megabytes(work, 'idle'), megabytes(work, 'busy')])
  expect(idle).toBeLessThan(mostBusy / 2)
})

/** Leaves megabytes of garbage that has grown old, as loading a program does, and prints the heap then and a while later. */
const loaded = `
  import { setTimeout } from 'node:timers/promises'
  import { collectOnceIdle, keepHeapSmall } from 'ratatoskr/adapters/node'
  const starting = keepHeapSmall()
  let kept = []
  for (let i = 0; i < 200_000; i++) kept.push({ i, next: [i] })
  const before = process.memoryUsage().heapTotal
  kept = undefined
  starting[Symbol.dispose]()
  if (process.argv[1] !== 'as it is') collectOnceIdle()
  if (process.argv[1] === 'busy') setInterval(() => { for (const end = performance.now() + 20; performance.now() < end; ); }, 50)
  await setTimeout(1_500)
  console.log(JSON.stringify([before / 1e6, process.memoryUsage().heapTotal / 1e6]))
  process.exit()
`

it('gives back once it is idle what loading has left, which a process would keep that is idle from then on', async () => {
  const [[before, afterwards], [, asItIs], [, busy]] = await Promise.all([
    megabytes(loaded, 'idle'),
    megabytes(loaded, 'as it is'),
    megabytes(loaded, 'busy'),
  ])
  expect(afterwards).toBeLessThan(before / 2)
  // V8 may come to it by itself.
  expect(afterwards).toBeLessThanOrEqual(asItIs)
  expect(afterwards).toBeLessThanOrEqual(busy)
})
