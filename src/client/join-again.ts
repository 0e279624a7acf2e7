/** How subscriptions come back after their link was lost: they try on each new link until it works, or never will. */
import type { RatatoskrError } from '../ports/index.ts'
import { toRatatoskrError } from '../ports/index.ts'
import { Backoff } from './backoff.ts'
import { delay } from './call.ts'
import type { ClientContext } from './context.ts'
import type { Link } from './link.ts'

export interface JoinAgainOptions {
  /** For the message of an error: what is being done. */
  readonly doing: string
  /** The link is still there: the broker is left alone for a moment. */
  readonly pauseFirst: boolean
  readonly join: (link: Link) => Promise<void>
  /** Whether a failure may pass. */
  readonly mayPass: (failure: RatatoskrError) => boolean
}

/** @returns false when `signal` fired first @throws a failure that does not pass */
export async function joinAgain(
  { platform, connection }: ClientContext,
  signal: AbortSignal,
  { doing, pauseFirst, join, mayPass }: JoinAgainOptions,
): Promise<boolean> {
  const backoff = new Backoff({ baseMs: 100, maxMs: 5_000 }, platform.random)
  let refusal: RatatoskrError | undefined
  for (let pause = pauseFirst; !signal.aborted; pause = true) {
    try {
      if (pause) await delay(platform.clock, backoff.next(refusal), signal, doing)
      await connection.use(join, signal)
      return true
    } catch (error) {
      const failure = toRatatoskrError(error)
      if (!signal.aborted && !mayPass(failure)) throw failure
      refusal = failure
    }
  }
  return false
}
