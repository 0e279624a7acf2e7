/** Long polls: calls that wait until something has changed, for as long as they may. */
import type { Clock, RatatoskrError } from '../../ports/index.ts'
import { abortError, throwIfAborted } from '../calls.ts'

/** Pause of a call before it looks again at a log that gave nothing though it has something. */
export const lookAgainMs = 50

/** What a call can wait for. */
export interface Changing {
  onceChanged(run: () => void): Disposable
}

export class Waits {
  readonly #clock: Clock
  readonly #open = new Set<(reason: RatatoskrError) => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Settles when one of `sources` has changed, or after `delayMs`.
   * @throws RTK_CANCELLED, RTK_TIMEOUT by the signal; what `fail` was given
   */
  async wait(sources: readonly Changing[], delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    // It tells of its abort once: who has missed that would wait for the whole time.
    throwIfAborted(signal)
    await new Promise<void>((resolve, reject) => {
      const done = (settle: () => void): void => {
        for (const registration of registrations) registration[Symbol.dispose]()
        signal?.removeEventListener('abort', onAbort)
        this.#open.delete(fail)
        settle()
      }
      const onChange = (): void => done(resolve)
      const fail = (reason: RatatoskrError): void => done(() => reject(reason))
      const onAbort = (): void => {
        if (signal !== undefined) fail(abortError(signal))
      }
      const registrations = [this.#clock.after(delayMs, onChange)]
      for (const source of sources) registrations.push(source.onceChanged(onChange))
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#open.add(fail)
    })
  }

  /** Ends every wait with `reason`. */
  fail(reason: RatatoskrError): void {
    for (const fail of [...this.#open]) fail(reason)
  }
}
