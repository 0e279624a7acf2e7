/** Ids need no coordination: a million of them in CI, 200,000 elsewhere, from eight threads, are all different. */
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { rounds } from '../../src/testing/rounds.ts'

const idsPerWorker = rounds(125_000, 25_000)
const program = `
  import { parentPort } from 'node:worker_threads'
  const { systemRandom } = await import(${JSON.stringify(new URL('random.ts', import.meta.url).href)})
  parentPort.postMessage(Array.from({ length: ${idsPerWorker} }, () => systemRandom.uuid()))
`

const idsOfWorker = (): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), {
      execArgv: ['--conditions=source'],
    })
    worker.once('message', resolve)
    worker.once('error', reject)
  })

it('gives as many different UUIDs of version 4 as are asked for, from eight threads', async () => {
  const batches = await Promise.all(Array.from({ length: 8 }, idsOfWorker))
  const ids = new Set(batches.flat())
  expect(ids.size).toBe(8 * idsPerWorker)
  const version4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  expect([...ids].filter((id) => !version4.test(id))).toEqual([])
})
