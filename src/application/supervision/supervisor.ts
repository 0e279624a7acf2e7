/**
 * Restarts what failed: with backoff, and after too many failures within a window as `failed`, which is tried again
 * too, but seldom. One broker has one `Supervision`; each supervised child a `Supervisor` of its own, so that a child
 * that keeps failing costs the others nothing.
 */
import { type BackoffOptions, backoffDelayMs } from '../../domain/backoff.ts'
import { type RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import type { ComponentHealth, Platform } from '../../ports/index.ts'

/** When and how often a failed child is started again. */
export interface RestartPolicy {
  /** Pauses between the tries. */
  readonly backoff: BackoffOptions
  /** Failures within `windowMs` after which the child counts as failed: the restart intensity. */
  readonly failuresMax: number
  readonly windowMs: number
  /** Pause before a failed child is tried again. */
  readonly failedPauseMs: number
}

export const defaultRestartPolicy: RestartPolicy = Object.freeze({
  backoff: { baseMs: 50, maxMs: 5_000 },
  failuresMax: 5,
  windowMs: 60_000,
  failedPauseMs: 30_000,
})

/** Something that can fail and be started again. */
export interface SupervisedChild {
  /** For health and logs. */
  readonly name: string
  /** Brings the child back to work; a rejection counts as its next failure. */
  restart(): Promise<void>
  /** Told when the child came back or was given up for the time being. */
  statusChanged?(status: ComponentHealth['status']): void
}

/** The supervisors of one broker, and what is wrong among them. */
export class Supervision {
  readonly #platform: Platform
  readonly #policy: RestartPolicy
  readonly #onRestart: (name: string) => void
  readonly #troubled = new Set<Supervisor>()

  constructor(platform: Platform, policy: RestartPolicy, onRestart: (name: string) => void) {
    this.#platform = platform
    this.#policy = policy
    this.#onRestart = onRestart
  }

  supervise(child: SupervisedChild): Supervisor {
    return new Supervisor(child, this.#platform, this.#policy, (supervisor, restarted) => {
      if (supervisor.troubled) this.#troubled.add(supervisor)
      else this.#troubled.delete(supervisor)
      if (restarted) this.#onRestart(child.name)
    })
  }

  /** Health of the children that are not well. */
  get troubled(): readonly ComponentHealth[] {
    return Array.from(this.#troubled, (supervisor) => supervisor.health)
  }
}

export class Supervisor {
  readonly #child: SupervisedChild
  readonly #platform: Platform
  readonly #policy: RestartPolicy
  readonly #changed: (supervisor: Supervisor, restarted: boolean) => void
  #status: ComponentHealth['status'] = 'ok'
  #restarts = 0
  #lastError: RatatoskrError | undefined
  /** Monotonic times of the latest failures, oldest first; never more than `failuresMax`. */
  #failures: number[] = []
  #timer: Disposable | undefined
  #restarting: Promise<void> | undefined
  /** What was reported while a restart ran: the child may have come back and failed again before we heard of it. */
  #failedMeanwhile: unknown
  #stopped = false

  constructor(
    child: SupervisedChild,
    platform: Platform,
    policy: RestartPolicy,
    changed: (supervisor: Supervisor, restarted: boolean) => void,
  ) {
    this.#child = child
    this.#platform = platform
    this.#policy = policy
    this.#changed = changed
  }

  get health(): ComponentHealth {
    return {
      name: this.#child.name,
      status: this.#status,
      restarts: this.#restarts,
      lastError: this.#lastError?.code,
    }
  }

  get troubled(): boolean {
    return this.#status !== 'ok' && !this.#stopped
  }

  /** Reports a failure: the child is restarted after a pause. While it waits for that, further reports change nothing. */
  failed(error: unknown): void {
    if (this.#stopped || this.#timer !== undefined) return
    if (this.#restarting !== undefined) this.#failedMeanwhile = error
    else this.#scheduleRestart(error)
  }

  /** Restarts no more; resolves when a restart that is running has ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#changed(this, false)
    await this.#restarting
  }

  #scheduleRestart(error: unknown): void {
    this.#lastError = toRatatoskrError(error)
    const now = this.#platform.clock.monotonic()
    this.#failures = this.#failures.filter((at) => now - at < this.#policy.windowMs)
    this.#failures.push(now)
    if (this.#failures.length > this.#policy.failuresMax) this.#failures.shift()
    // A child that was given up stays so until it comes back: its seldom tries must not become frequent again.
    const givenUp = this.#status === 'failed' || this.#failures.length >= this.#policy.failuresMax
    const pauseMs = givenUp
      ? this.#policy.failedPauseMs
      : backoffDelayMs(this.#failures.length - 1, this.#policy.backoff, this.#platform.random.next())
    this.#platform.logger.warn('component failed and will be restarted', {
      component: this.#child.name,
      code: this.#lastError.code,
      error,
      givenUp,
      pauseMs,
    })
    this.#setStatus(givenUp ? 'failed' : 'restarting')
    this.#timer = this.#platform.clock.after(pauseMs, () => {
      this.#timer = undefined
      // Begun in a microtask, so that what the child reports at once finds the restart on record.
      this.#restarting = Promise.resolve().then(() => this.#restart())
    })
  }

  async #restart(): Promise<void> {
    this.#failedMeanwhile = undefined
    let failure: unknown
    try {
      await this.#child.restart()
      this.#restarts++
      this.#setStatus('ok', true)
      this.#platform.logger.info('component restarted', { component: this.#child.name })
      failure = this.#failedMeanwhile
    } catch (error) {
      failure = error
    }
    this.#restarting = undefined
    if (failure !== undefined && !this.#stopped) this.#scheduleRestart(failure)
  }

  #setStatus(status: ComponentHealth['status'], restarted = false): void {
    this.#status = status
    this.#changed(this, restarted)
    this.#child.statusChanged?.(status)
  }
}
