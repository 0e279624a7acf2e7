/**
 * Starting and stopping the broker's parts: in order, and back in the reverse order. A start that fails is unwound; a
 * stop keeps its deadline and goes on past what fails or hangs, so that the last step is always reached.
 */
import { toRatatoskrError } from '../domain/errors.ts'
import type { Platform } from '../ports/index.ts'
import { within } from './deadline.ts'

export interface LifecycleStep {
  readonly name: string
  start(): Promise<void> | void
  /** @param deadlineMs how long it may take; then it is left behind */
  stop(deadlineMs: number): Promise<void> | void
}

/** Of the time that is left, what one step may use: one that hangs must not take it from the stores, which stop last. */
const stepShare = 0.6

export class Lifecycle {
  readonly #steps: readonly LifecycleStep[]
  readonly #platform: Platform
  #started = 0

  constructor(steps: readonly LifecycleStep[], platform: Platform) {
    this.#steps = steps
    this.#platform = platform
  }

  /** @throws what a step threw, after the steps before it were stopped again within `unwindMs` */
  async start(unwindMs: number): Promise<void> {
    try {
      for (const step of this.#steps) {
        await step.start()
        this.#started++
      }
    } catch (error) {
      const failed = this.#steps[this.#started].name
      this.#platform.logger.error('start failed', { component: failed, error })
      await this.stop(unwindMs).catch((unwinding: unknown) => {
        this.#platform.logger.error('a component did not stop after the failed start', { error: unwinding })
      })
      throw toRatatoskrError(error)
    }
  }

  /** @throws the first failure, after every step was stopped or given up */
  async stop(timeoutMs: number): Promise<void> {
    const { clock, logger } = this.#platform
    const deadline = clock.monotonic() + timeoutMs
    const failures: unknown[] = []
    while (this.#started > 0) {
      const step = this.#steps[--this.#started]
      try {
        const stepMs = Math.max(0, deadline - clock.monotonic()) * stepShare
        await within(clock, stepMs, stopStep(step, stepMs))
      } catch (error) {
        logger.error('stopping a component failed', { component: step.name, error })
        failures.push(error)
      }
    }
    if (failures.length > 0) throw toRatatoskrError(failures[0])
  }
}

// A step that throws before it returns a promise fails like one that rejects.
async function stopStep(step: LifecycleStep, deadlineMs: number): Promise<void> {
  await step.stop(deadlineMs)
}
