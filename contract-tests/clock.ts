/** The specification of the `Clock` port as a suite. */
import type { Clock } from 'ratatoskr/ports'
import { expect } from 'vitest'
import {
  type ContractCase,
  type ContractContext,
  type ContractOptions,
  defineContract,
  within,
} from './suite.ts'

/** What the clock suite asks of a setup. */
export interface ClockContext extends ContractContext {
  readonly subject: Clock
  /** Lets at least `ms` milliseconds pass on the clock: by waiting on a real one, by advancing a manual one. */
  elapse(ms: number): Promise<void>
}

/** Runs the suite against a clock. */
export const clockContract = (
  title: string,
  setup: () => Promise<ClockContext>,
  options?: ContractOptions,
): void => defineContract(title, clockCases, setup, options)

/** Every case of the suite, for running it on clocks that must fail it. */
export const clockCases: readonly ContractCase<ClockContext>[] = [
  {
    name: 'now() is whole Unix milliseconds',
    async run({ subject }) {
      expect(Number.isSafeInteger(subject.now())).toBe(true)
      expect(subject.now()).toBeGreaterThan(Date.UTC(2020, 0, 1))
    },
  },
  {
    name: 'monotonic() rises with time and never falls',
    async run({ subject, elapse }) {
      let before = subject.monotonic()
      for (let i = 0; i < 100; i++) {
        const next = subject.monotonic()
        expect(next).toBeGreaterThanOrEqual(before)
        before = next
      }
      await elapse(5)
      expect(subject.monotonic()).toBeGreaterThanOrEqual(before + 5)
    },
  },
  {
    name: 'now() and monotonic() count the same milliseconds',
    async run({ subject, elapse }) {
      const wall = subject.now()
      const steady = subject.monotonic()
      await elapse(20)
      const drift = subject.now() - wall - (subject.monotonic() - steady)
      expect(Math.abs(drift)).toBeLessThan(5)
    },
  },
  {
    name: 'after() runs once, not before its delay is over',
    async run({ subject, elapse }) {
      const asked = subject.monotonic()
      const ranAt: number[] = []
      subject.after(15, () => ranAt.push(subject.monotonic()))
      expect(ranAt).toEqual([])
      await elapse(30)
      await elapse(30)
      expect(ranAt).toHaveLength(1)
      expect(ranAt[0]).toBeGreaterThanOrEqual(asked + 15)
    },
  },
  {
    name: 'after() never runs within the call, whatever the delay',
    async run({ subject, elapse }) {
      for (const delayMs of [0, -1, -Infinity, 0.2]) {
        let ran = false
        subject.after(delayMs, () => {
          ran = true
        })
        expect(ran, `delay ${delayMs} ran at once`).toBe(false)
        await elapse(10)
        expect(ran, `delay ${delayMs} did not run`).toBe(true)
      }
    },
  },
  {
    name: 'timers run in the order of their times',
    async run({ subject, elapse }) {
      const order: string[] = []
      subject.after(40, () => order.push('third'))
      subject.after(5, () => order.push('first'))
      subject.after(20, () => order.push('second'))
      await elapse(80)
      expect(order).toEqual(['first', 'second', 'third'])
    },
  },
  {
    name: 'a disposed timer does not run',
    async run({ subject, elapse }) {
      let ran = false
      const timer = subject.after(5, () => {
        ran = true
      })
      timer[Symbol.dispose]()
      await elapse(30)
      expect(ran).toBe(false)
    },
  },
  {
    name: 'a timer disposed of by an earlier one does not run',
    async run({ subject, elapse }) {
      let ran = false
      const later = subject.after(20, () => {
        ran = true
      })
      subject.after(1, () => later[Symbol.dispose]())
      await elapse(50)
      expect(ran).toBe(false)
    },
  },
  {
    name: 'disposing twice, or after the timer ran, does nothing',
    async run({ subject, elapse }) {
      let runs = 0
      const done = subject.after(1, () => runs++)
      await elapse(20)
      const waiting = subject.after(1, () => runs++)
      done[Symbol.dispose]()
      done[Symbol.dispose]()
      await elapse(20)
      waiting[Symbol.dispose]()
      expect(runs).toBe(2)
    },
  },
  {
    name: 'a timer may set the next one',
    async run({ subject, elapse }) {
      const asked = subject.monotonic()
      const ran = Promise.withResolvers<number>()
      subject.after(5, () => {
        subject.after(5, () => ran.resolve(subject.monotonic()))
      })
      await elapse(50)
      expect(await within(ran.promise, 5_000, 'the second timer')).toBeGreaterThanOrEqual(asked + 10)
    },
  },
  {
    name: 'a delay of years neither runs at once nor fails',
    async run({ subject, elapse }) {
      let ran = false
      const timers = [2 ** 31, 2 ** 40, Infinity].map((delayMs) =>
        subject.after(delayMs, () => {
          ran = true
        }),
      )
      await elapse(20)
      expect(ran).toBe(false)
      for (const timer of timers) timer[Symbol.dispose]()
    },
  },
  {
    name: 'a delay that is no number is a TypeError',
    async run({ subject }) {
      expect(() => subject.after(Number.NaN, () => {})).toThrow(TypeError)
    },
  },
]
