import fc from 'fast-check'
import { expect, it } from 'vitest'
import { heaviest, type WeighedRun } from './run-choice.ts'

const weightOf = (runs: readonly WeighedRun[]): number => runs.reduce((sum, { weight }) => sum + weight, 0)

/** Tries every choice. */
function best(runs: readonly WeighedRun[], offset = 0): number {
  const [first, ...rest] = runs
  if (first === undefined) return 0
  const without = best(rest, offset)
  const { start, end } = first.run
  return start.offset < offset ? without : Math.max(without, first.weight + best(rest, end.offset))
}

const drawn = fc
  .array(
    fc.record({
      offset: fc.nat(30),
      records: fc.integer({ min: 1, max: 8 }),
      weight: fc.integer({ min: 1, max: 9 }),
    }),
    {
      maxLength: 9,
    },
  )
  .map((all) =>
    all.map(({ offset, records, weight }, i): WeighedRun => {
      const start = { position: i * 100, offset }
      return { run: { start, end: { position: i * 100 + 100, offset: offset + records } }, weight }
    }),
  )

it('chooses the most weight whose offsets rise, in order', () => {
  fc.assert(
    fc.property(drawn, (runs) => {
      const chosen = heaviest(runs)
      expect(weightOf(chosen)).toBe(best(runs))
      for (const [i, { run }] of chosen.slice(1).entries()) {
        expect(run.start.position).toBeGreaterThan(chosen[i].run.start.position)
        expect(run.start.offset).toBeGreaterThanOrEqual(chosen[i].run.end.offset)
      }
    }),
    { numRuns: 1_000 },
  )
})
