/**
 * The shape that every contract suite has: a list of named cases, each run on a fresh subject.
 *
 * A list rather than calls of `it`, so that one list serves two ends: `defineContract` makes vitest tests of it for whoever
 * wrote an adapter, and `failuresOf` runs it on adapters that are broken on purpose, which must not pass.
 * What an adapter cannot do is no reason to leave a case out: the case asks `supports` and proves that the call is refused.
 */
import { isRatatoskrError } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'

/** What a setup gives to each case, at least. */
export interface ContractContext {
  /** Undoes the setup, whatever the case left behind. */
  teardown(): Promise<void>
}

/** One case of a suite. */
export interface ContractCase<Context extends ContractContext> {
  /** Unique within its suite; known gaps refer to it. */
  readonly name: string
  run(context: Context): Promise<void>
}

/** A case that an adapter is known to fail, and why. The case must fail: once it passes, the gap is reported as closed. */
export interface KnownGap {
  readonly test: string
  readonly reason: string
}

/** How a suite is run. */
export interface ContractOptions {
  readonly knownGaps?: readonly KnownGap[]
}

/** Makes vitest tests of a suite: a fresh subject for each case, torn down after it. */
export function defineContract<Context extends ContractContext>(
  title: string,
  cases: readonly ContractCase<Context>[],
  setup: () => Promise<Context>,
  options: ContractOptions = {},
): void {
  const gaps = new Map((options.knownGaps ?? []).map((gap) => [gap.test, gap.reason]))
  describe(title, () => {
    for (const one of cases) {
      const reason = gaps.get(one.name)
      gaps.delete(one.name)
      if (reason === undefined) it(one.name, () => runCase(one, setup))
      else it.fails(`${one.name} (known gap: ${reason})`, () => runCase(one, setup))
    }
    for (const name of gaps.keys()) {
      it(`known gap "${name}" names a case of the suite`, () => {
        expect.fail(`there is no case of this name; the suite has: ${cases.map((c) => c.name).join(' | ')}`)
      })
    }
  })
}

/** Runs one case on a fresh subject. A failing teardown fails the case, but never hides why the case failed. */
export async function runCase<Context extends ContractContext>(
  one: ContractCase<Context>,
  setup: () => Promise<Context>,
): Promise<void> {
  const context = await setup()
  try {
    await one.run(context)
  } catch (error) {
    await context.teardown().catch(() => undefined)
    throw error
  }
  await context.teardown()
}

/** A case that failed, and how. */
export interface CaseFailure {
  readonly name: string
  readonly error: unknown
}

/**
 * Runs every case and reports those that fail: how a suite is shown to catch a planted fault.
 * @param timeoutMs after which a case that hangs counts as failed
 */
export async function failuresOf<Context extends ContractContext>(
  cases: readonly ContractCase<Context>[],
  setup: () => Promise<Context>,
  timeoutMs = 5_000,
): Promise<readonly CaseFailure[]> {
  const failures: CaseFailure[] = []
  for (const one of cases) {
    try {
      await within(runCase(one, setup), timeoutMs, one.name)
    } catch (error) {
      failures.push({ name: one.name, error })
    }
  }
  return failures
}

/** Settles as `promise` does, or rejects after `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Expects that `call` throws or rejects with one of `codes`, whichever way it was made. */
export async function expectCode(call: () => unknown, ...codes: readonly string[]): Promise<void> {
  let outcome: unknown
  try {
    outcome = await call()
  } catch (error) {
    expect(
      isRatatoskrError(error) ? error.code : error,
      `expected a RatatoskrError of ${codes.join(' or ')}`,
    ).toSatisfy((code: unknown) => codes.includes(code as string))
    return
  }
  expect.fail(`expected ${codes.join(' or ')}, but the call gave ${String(outcome)}`)
}
