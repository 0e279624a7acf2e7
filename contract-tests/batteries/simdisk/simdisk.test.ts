/** The simulation's own rules: what its models let pass and what not, and that a seed is a run. */
import { describe, expect, it } from 'vitest'
import { type Attempt, type CrashFacts, type FoundLog, LogModel, StateModel } from './model.ts'
import { runSeed } from './seed.ts'
import { batchOf } from './storage.ts'

const power: CrashFacts = { kind: 'power', nowMs: 1000, syncIntervalMs: 50 }
const kill: CrashFacts = { ...power, kind: 'kill' }

const batch = (base: number, number = base + 1): FoundLog['batches'][number] => ({
  base,
  end: base + 1,
  bytes: batchOf(number, base, 1, 8),
})

const log = (...bases: number[]): FoundLog => ({
  start: bases[0] ?? 0,
  end: (bases.at(-1) ?? -1) + 1,
  batches: bases.map((base) => batch(base)),
  damaged: [],
})

/** A log with one batch for each level; those that end on `?` are not acknowledged. */
function modelOf(...levels: string[]): LogModel {
  const model = new LogModel('log')
  model.mayExist = true
  for (const [base, level] of levels.entries()) {
    const durability = level.replace('?', '') as Attempt['durability']
    const attempt: Attempt = { ...batch(base), durability, status: 'pending', ackedAtMs: 0 }
    model.submitted(attempt)
    if (!level.endsWith('?')) model.settled(attempt, 'acked', 990)
  }
  return model
}

describe('a log', () => {
  it.each([
    ['all of it', modelOf('fsync', 'os', 'fsync?'), log(0, 1, 2), power, undefined],
    ['without what was not synced', modelOf('fsync', 'os'), log(0), power, undefined],
    ['without what a kill leaves', modelOf('fsync', 'os'), log(0), kill, /not there/],
    ['without what was synced', modelOf('os', 'fsync'), log(0), power, /0 to 1|1 to 2/],
    ['that is gone', modelOf('fsync'), undefined, power, /gone/],
    ['that nobody was promised', modelOf('os', 'fsync?'), undefined, power, undefined],
    ['with a batch nobody wrote', modelOf('fsync'), log(0, 1), power, /may be there/],
    ['with a gap', modelOf('os', 'os', 'os'), log(0, 2), power, /neither there nor declared/],
    [
      'with a declared gap',
      modelOf('os', 'os', 'os'),
      { ...log(0, 2), damaged: [{ from: 1, to: 2 }] },
      power,
      undefined,
    ],
    [
      'damaged where it was synced',
      modelOf('fsync', 'fsync'),
      { ...log(1), start: 0, damaged: [{ from: 0, to: 1 }] },
      power,
      /not there/,
    ],
    ['that starts later', modelOf('fsync', 'fsync'), log(1), power, /starts at 1/],
  ])('%s', (_, model, found, crash, problem) => {
    if (problem === undefined) expect(model.check(found, crash)).toBeUndefined()
    else expect(model.check(found, crash)).toMatch(problem)
  })

  it('at level interval, is owed what the interval covers, but for what a failing disk took', () => {
    const model = modelOf('interval')
    expect(model.check(log(), { ...power, nowMs: 1040 })).toBeUndefined()
    expect(model.check(log(), { ...power, nowMs: 1041 })).toMatch(/not there/)
    model.excusedUntil = 1
    expect(model.check(log(), { ...power, nowMs: 1041 })).toBeUndefined()
  })

  it('that was deleted or cut stays so', () => {
    const model = modelOf('fsync', 'fsync')
    model.cutTo = 1
    expect(model.check(log(0), power)).toBeUndefined()
    model.cut(1)
    expect(model.check(log(0, 1), power)).toMatch(/may be there/)
    model.deleting = true
    expect(model.check(undefined, power)).toBeUndefined()
    model.deleted()
    expect(model.check(log(0), power)).toMatch(/deleted log is back/)
  })

  it('refused for lack of room does not come back after a kill, nor after a durable append in its place', () => {
    const model = modelOf('fsync', 'fsync?')
    model.settled(model.attempts[1], 'full', 0)
    expect(model.check(log(0, 1), power)).toBeUndefined()
    expect(model.check(log(0, 1), kill)).toMatch(/may be there/)
    const next: Attempt = { ...batch(1, 77), durability: 'fsync', status: 'pending', ackedAtMs: 0 }
    model.submitted(next)
    model.settled(next, 'acked', 990)
    expect(model.check(log(0, 1), power)).toMatch(/may be there/)
  })
})

it('state is what was acknowledged, with any of what is open, each whole', () => {
  const model = new StateModel()
  const put = (...keys: string[]) => keys.map((key) => ({ key, value: new Uint8Array(4) }))
  model.acked(model.submitted(put('a'), [1]))
  model.submitted(put('a', 'b'), [2, 3])
  expect(model.check(new Map([['a', [1, 1]]]))).toBeUndefined()
  expect(
    model.check(
      new Map([
        ['a', [2, 2] as const],
        ['b', [3, 1] as const],
      ]),
    ),
  ).toBeUndefined()
  expect(model.check(new Map([['a', [2, 2]]]))).toMatch(/acknowledged was {a: 1 v1}/)
  expect(model.check(new Map([['a', [1, 2]]]))).toMatch(/a: 1 v2/)
  expect(model.check(new Map())).toMatch(/{}/)
})

it('a seed is a run: it keeps every promise, and takes the same steps again', async () => {
  const first = await runSeed(4, 20)
  expect(first).toMatchObject({ seed: 4, failure: undefined })
  expect(first.crashes['power cut']).toBeGreaterThan(3)
  expect(await runSeed(4, 20)).toEqual(first)
  expect((await runSeed(5, 4)).hash).not.toBe(first.hash)
})
