/** The simulation's own rules: that a seed is a run, and that its judge sees what is wrong. */
import { describe, expect, it } from 'vitest'
import { Credit } from './credit.ts'
import { workTopic } from './names.ts'
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

  it('finds a dead letter that was published again twice, or by nobody', async () => {
    const outcome = await outcomeOf()
    const [first] = outcome.records.get(workTopic) ?? []
    const value = (text: string): Uint8Array => new TextEncoder().encode(text)
    const letter = { ...first, topicId: 'graves', offset: 7 }
    const graves = [{ ...letter, headers: [['rtk-dead-letter-group', value('group0')] as const] }]
    const copy = { ...first, headers: [['rtk-redrive-letter', value('graves:7')] as const] }
    const told = (copies: number): string =>
      withRecords(outcome, (all) => {
        const work = [...(all.get(workTopic) ?? []), ...Array.from({ length: copies }, () => copy)]
        return new Map([...all, [workTopic, work], ['graves', graves]])
      }).join()
    expect(told(2)).toMatch('the dead letter graves:7 of group0 is done and was published again 2 times')
    expect(told(0)).toMatch('published again 0 times')
    expect(told(1)).not.toMatch('the dead letter graves:7')
  })

  it('takes a message for passed over when a crash came after all that was sent of it, and before what follows', async () => {
    const outcome = await outcomeOf()
    const { ledger, plan } = outcome
    const keyed = ledger.deliveries.filter(
      ({ key, n }) => key !== undefined && plan.messages[n].ttlMs === undefined,
    )
    const [first, next] = keyed
      .map((one) => [
        one,
        keyed.find(({ key, offset, end }) => key === one.key && offset > one.offset && end === 'ack'),
      ])
      .find(([, other]) => other !== undefined) as [(typeof keyed)[number], (typeof keyed)[number]]
    // Whoever had it lost his lease.
    for (const one of keyed)
      if (one.partition === first.partition && one.offset === first.offset) one.end = undefined
    const complaint = `${next.partition}:${next.offset} at ${next.member} is handled before ${first.partition}:${first.offset}`
    const judged = (by: 'handler' | 'once', ...crashes: number[]): string => {
      ledger.crashes.splice(0, Number.POSITIVE_INFINITY, ...crashes)
      const [member] = plan.members.filter(({ group }) => group === 0)
      return judge({ ...outcome, plan: { ...plan, members: [...plan.members, { ...member, by }] } }).join()
    }
    expect(judged('once')).toMatch(complaint)
    expect(judged('once', first.startMs - 100)).toMatch(complaint)
    expect(judged('once', next.startMs + 1)).toMatch(complaint)
    expect(judged('handler', next.startMs)).toMatch(complaint)
    expect(judged('once', next.startMs)).not.toMatch(complaint)
  })

  it('knows credit: what is left of it, and that a message larger than all of it comes alone', () => {
    const credit = new Credit()
    expect(credit.spend('1 messages, 10 bytes')).toBe('nothing was granted')
    credit.grant('3 messages, 100 bytes')
    expect(credit.spend('1 messages, 60 bytes')).toBeUndefined()
    expect(credit.spend('1 messages, 60 bytes')).toBe('credit is 40 bytes')
    credit.grant('undefined messages, 80 bytes')
    expect(credit.spend('1 messages, 10 bytes')).toBeUndefined()
    expect(credit.spend('1 messages, 10 bytes')).toBe('credit is 0 messages')
    const alone = new Credit()
    alone.grant('undefined messages, 100 bytes')
    expect(alone.spend('2 messages, 120 bytes')).toBe('credit is 100 bytes')
    const large = new Credit()
    large.grant('undefined messages, 100 bytes')
    expect(large.spend('1 messages, 120 bytes')).toBeUndefined()
  })
})
