/** The simulation's own rules: that a seed is a run, and that its judge sees what is wrong. */
import { describe, expect, it } from 'vitest'
import { workTopic } from './client-host.ts'
import { judge } from './oracle.ts'
import { planOf } from './plan.ts'
import { type Outcome, Run } from './run.ts'
import { runSeed } from './seed.ts'

it('a seed is a run: it keeps every promise, and comes to the same events again', async () => {
  const first = await runSeed(4)
  expect(first).toMatchObject({ seed: 4, failure: undefined })
  expect(first.deliveries).toBeGreaterThan(10)
  expect(await runSeed(4)).toEqual(first)
  expect((await runSeed(5)).hash).not.toBe(first.hash)
})

describe('the judge', () => {
  /** A run without faults, in which something is then changed. */
  const outcomeOf = (): Promise<Outcome> => new Run({ ...planOf(4), faults: [], unrest: 0 }).run()
  const withRecords = (outcome: Outcome, change: (records: Outcome['records']) => Outcome['records']) =>
    judge({ ...outcome, records: change(outcome.records) })

  it('finds nothing in a run without faults', async () => {
    expect(judge(await outcomeOf())).toEqual([])
  })

  it('finds a message that is not there, one that is there twice, and one that nobody published', async () => {
    const outcome = await outcomeOf()
    const [first, ...others] = outcome.records.get(workTopic) ?? []
    const work = (...records: (typeof first)[]) =>
      withRecords(outcome, (all) => new Map([...all, [workTopic, records]]))
    expect(work(...others).join()).toMatch(`#${first.n} was acknowledged`)
    expect(work(first, first, ...others)).toContain(`#${first.n} is stored 2 times`)
    expect(work(first, ...others, { ...first, n: 999, offset: 999 }).join()).toMatch('was never published')
  })

  it('finds what was lost, what comes again, and a lease that is given out twice', async () => {
    const lost = await outcomeOf()
    const [delivery] = lost.ledger.deliveries
    const isIt = ({ group, partition, offset }: typeof delivery): boolean =>
      group === delivery.group && partition === delivery.partition && offset === delivery.offset
    const kept = lost.ledger.deliveries.filter((one) => !isIt(one))
    lost.ledger.deliveries.splice(0, Number.POSITIVE_INFINITY, ...kept)
    const unburied = withRecords(lost, (all) => new Map([[workTopic, all.get(workTopic) ?? []]]))
    expect(unburied.join()).toMatch(`${delivery.partition}:${delivery.offset} #${delivery.n} was neither`)

    const again = await outcomeOf()
    again.ledger.deliveries.push({ ...delivery, startMs: 60_000, redelivered: false })
    expect(judge(again).join()).toMatch('has the lease')
    expect(judge(again).join()).toMatch('came to group')
    const later = await outcomeOf()
    later.ledger.deliveries.push({ ...delivery, lease: 2 ** 50, startMs: 60_000, redelivered: false })
    expect(judge(later).join()).toMatch('does not say so')
  })
})
