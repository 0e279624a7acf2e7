/** Scenarios as they run, one of each kind, and that each has a short run: `npm run test:bench` makes them all. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scenarios } from './scenarios/index.ts'
import { assertShortRun, type ShortRun, shortRuns } from './short-runs.ts'

describe('the short runs', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-bench-test-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  it('are of every scenario, and one of each', () => {
    const names = shortRuns.map(({ scenario }) => scenario)
    expect(names.toSorted()).toEqual(scenarios.map(({ name }) => name).toSorted())
  })

  // A role that stores, a server that is asked over gRPC, foreign callers of it, and no process but its own.
  it.each(['single-acks', 'queue-grpc', 'unary-grpc', 'checksum'])(
    '%s runs, reports and leaves nothing behind',
    async (scenario) => {
      const shortRun = shortRuns.find((one) => one.scenario === scenario) as ShortRun
      expect(await assertShortRun(shortRun, directory, ['--seconds', '0.3'])).toMatchObject({
        scenario,
        runs: 1,
      })
    },
  )
})
