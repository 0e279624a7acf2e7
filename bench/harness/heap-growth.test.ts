import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, it, onTestFinished } from 'vitest'
import { bytesOf, growthOf, kindsOf } from './heap-growth.ts'

/** A thread with a small heap of its own, which leaks when it is told to. */
const leaking = `
const { parentPort } = require('node:worker_threads')
const { writeHeapSnapshot } = require('node:v8')
class Forgotten { constructor(i) { this.i = i; this.more = { i } } }
const kept = []
parentPort.on('message', ({ file, count }) => {
  for (let i = 0; i < count; i++) kept.push(new Forgotten(i))
  writeHeapSnapshot(file)
  parentPort.postMessage('written')
})
`

it('names the constructor of what is never let go', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-heap-'))
  const worker = new Worker(leaking, { eval: true })
  onTestFinished(async () => {
    await worker.terminate()
    await rm(directory, { recursive: true, force: true })
  })
  const snapshot = async (name: string, count: number) => {
    const file = join(directory, name)
    const written = new Promise((resolve) => worker.once('message', resolve))
    worker.postMessage({ file, count })
    await written
    return kindsOf(file)
  }
  await snapshot('warm', 10)
  const before = await snapshot('before', 0)
  const same = await snapshot('same', 0)
  expect(growthOf(before, same, 100)).toEqual([])
  const after = await snapshot('after', 5_000)
  const growth = growthOf(same, after, 100)
  const leak = growth.find(({ name }) => name === 'object Forgotten')
  expect(leak?.count).toBe(5_000)
  expect(leak?.bytes).toBeGreaterThan(5_000 * 12)
  expect(bytesOf(after) - bytesOf(same)).toBeGreaterThan(5_000 * 24)
})

it('takes less of something for no growth', () => {
  const kinds = (count: number) => new Map([['object Few', { count, bytes: count * 10 }]])
  expect(growthOf(kinds(20), kinds(5), 1)).toEqual([])
  expect(growthOf(kinds(5), kinds(20), 16)).toEqual([])
  expect(growthOf(kinds(5), kinds(20), 15)).toEqual([{ name: 'object Few', count: 15, bytes: 150 }])
})
