/** Waiting for foreign code that may never answer. */
import type { Clock } from '../../ports/index.ts'

/** What became of work that was given a deadline. */
export type Settled = 'done' | 'timeout' | { readonly error: unknown }

/** Waits for `work`, but no longer than the deadline; never rejects. Late rejections are contained. */
export function settledWithin(clock: Clock, deadlineMs: number, work: Promise<unknown>): Promise<Settled> {
  return new Promise((resolve) => {
    const timer = clock.after(deadlineMs, () => resolve('timeout'))
    const settle = (outcome: Settled) => {
      timer[Symbol.dispose]()
      resolve(outcome)
    }
    work.then(
      () => settle('done'),
      (error: unknown) => settle({ error }),
    )
  })
}
