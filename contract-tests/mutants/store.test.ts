/** Every planted fault must make its suite fail; otherwise the suite specifies less than it says. */
import { describe, expect, it } from 'vitest'
import { diskLogSetup, diskStateSetup } from '../../adapters/disk/testing/setups.ts'
import { memoryLogSetup, memoryStateSetup } from '../../adapters/memory/testing/setups.ts'
import {
  type ContractCase,
  type ContractContext,
  failuresOf,
  type LogStoreContext,
  logStoreCases,
  type StateStoreContext,
  stateStoreCases,
} from '../index.ts'
import { damageMutants } from './store/damage-mutants.ts'
import { logMutants } from './store/log-mutants.ts'
import { stateMutants } from './store/state-mutants.ts'

/** The same setup with every store that it gives mutated. */
async function mutateLogs(
  setup: () => Promise<LogStoreContext>,
  mutate: (store: LogStoreContext['subject']) => LogStoreContext['subject'],
): Promise<LogStoreContext> {
  const context = await setup()
  const { tearLastBatch, damageBatch, bounded } = context
  return {
    subject: mutate(context.subject),
    reopen: async () => mutate(await context.reopen()),
    crash: async () => mutate(await context.crash()),
    ...(tearLastBatch && { tearLastBatch: async (id) => mutate(await tearLastBatch.call(context, id)) }),
    ...(damageBatch && {
      damageBatch: async (id, offset) => mutate(await damageBatch.call(context, id, offset)),
    }),
    ...(bounded && { bounded: async (bytesMax) => mutate(await bounded.call(context, bytesMax)) }),
    teardown: () => context.teardown(),
  }
}

async function mutateState(
  setup: () => Promise<StateStoreContext>,
  mutate: (store: StateStoreContext['subject']) => StateStoreContext['subject'],
): Promise<StateStoreContext> {
  const context = await setup()
  const { tearLastWrite, damageCopy, bounded } = context
  let current = mutate(context.subject)
  return {
    subject: current,
    async reopen() {
      // A fault that strikes at stop must strike here, too.
      await current.stop()
      current = mutate(await context.reopen())
      return current
    },
    crash: async () => mutate(await context.crash()),
    ...(tearLastWrite && { tearLastWrite: async () => mutate(await tearLastWrite.call(context)) }),
    ...(damageCopy && { damageCopy: async () => mutate(await damageCopy.call(context)) }),
    ...(bounded && { bounded: async (bytesMax) => mutate(await bounded.call(context, bytesMax)) }),
    teardown: () => context.teardown(),
  }
}

const caseTimeoutMs = 3_000

/**
 * Runs cases until one has failed and one has passed: one fault must not fail everything, for then nothing would be told
 * apart. More would say no more, and a run of all on the disk takes seconds.
 */
async function expectToBeToldApart<Context extends ContractContext>(
  cases: readonly ContractCase<Context>[],
  setup: () => Promise<Context>,
): Promise<void> {
  let failed = 0
  let passed = 0
  for (const one of cases) {
    const failures = await failuresOf([one], setup, caseTimeoutMs)
    if (failures.length > 0) failed++
    else passed++
    if (failed > 0 && passed > 0) return
  }
  expect.unreachable(`${failed} of ${cases.length} cases failed`)
}

/** Cases that no mutant needs and every mutant would pay for: one moves 16 MiB. */
const cheapLogCases = logStoreCases.filter(({ name }) => !name.includes('16 MiB'))
/** The cases that what is wrong about damage and counters must fail. */
const damageCases = logStoreCases.filter(({ name }) => /damage|counts each|counts appends/.test(name))

describe('mutants of a log store', () => {
  it('are at least twelve, with names of their own', () => {
    expect(new Set(logMutants.map((mutant) => mutant.name)).size).toBe(logMutants.length)
    expect(logMutants.length).toBeGreaterThanOrEqual(12)
    expect(cheapLogCases).toHaveLength(logStoreCases.length - 1)
  })

  for (const mutant of logMutants) {
    const { name, on, mutate } = mutant
    const cases = damageMutants.includes(mutant) ? damageCases : cheapLogCases
    it(`${name}: the suite fails`, async () => {
      const setup = on === 'memory' ? memoryLogSetup : () => diskLogSetup()
      await expectToBeToldApart(cases, () => mutateLogs(setup, mutate))
    }, 60_000)
  }
})

describe('mutants of a state store', () => {
  for (const { name, on, mutate } of stateMutants) {
    it(`${name}: the suite fails`, async () => {
      const setup = on === 'memory' ? memoryStateSetup : () => diskStateSetup()
      await expectToBeToldApart(stateStoreCases, () => mutateState(setup, mutate))
    }, 60_000)
  }
})

describe('what the mutants are made from', () => {
  it('passes when nothing is mutated', async () => {
    const same = <T>(store: T): T => store
    expect(await failuresOf(logStoreCases, () => mutateLogs(memoryLogSetup, same))).toEqual([])
    expect(await failuresOf(damageCases, () => mutateLogs(() => diskLogSetup(), same))).toEqual([])
    expect(await failuresOf(stateStoreCases, () => mutateState(memoryStateSetup, same))).toEqual([])
  }, 60_000)
})
