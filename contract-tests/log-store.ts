/**
 * The specification of the log store port: `logStoreContract('mine', setup)` in a test file of yours.
 *
 * The setup sees the store from outside only: it starts and stops it, abandons it, and damages what it left behind.
 * What the store cannot do it says in `supports`, and the suite proves that it refuses it.
 */
import { appendCases } from './log-store-append.ts'
import type { LogStoreCase, LogStoreContext } from './log-store-context.ts'
import { counterCases, damageCases } from './log-store-damage.ts'
import { lifecycleCases } from './log-store-lifecycle.ts'
import { readCases } from './log-store-read.ts'
import { recoveryCases } from './log-store-recovery.ts'
import { truncateCases } from './log-store-truncate.ts'
import { type ContractOptions, defineContract } from './suite.ts'

export type { LogStoreCase, LogStoreContext } from './log-store-context.ts'

/** Every case of the suite, for running it on stores that must fail it. */
export const logStoreCases: readonly LogStoreCase[] = [
  ...lifecycleCases,
  ...appendCases,
  ...readCases,
  ...truncateCases,
  ...recoveryCases,
  ...damageCases,
  ...counterCases,
]

/** Runs the suite on the stores that `setup` makes, one for each case. */
export function logStoreContract(
  title: string,
  setup: () => Promise<LogStoreContext>,
  options: ContractOptions = {},
): void {
  defineContract(`log store contract: ${title}`, logStoreCases, setup, options)
}
