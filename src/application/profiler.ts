/**
 * Takes profiles of the event loop that the broker runs on: one at a time, for a bounded time, and told to the plugins before it
 * begins, so that an audit log has it whatever becomes of it.
 */
import { RatatoskrError } from '../domain/errors.ts'
import { quoteForMessage } from '../domain/names.ts'
import type { CallOptions, Platform, Principal, ProfileRequest, RunningProfile } from '../ports/index.ts'
import { throwIfAborted } from './calls.ts'
import type { Hooks } from './seams.ts'

const durationMsMax = 60_000
const kinds: readonly ProfileRequest['kind'][] = ['cpu', 'heap']

export class Profiler {
  readonly #platform: Platform
  readonly #hooks: Hooks
  #busy = false

  constructor(platform: Platform, hooks: Hooks) {
    this.#platform = platform
    this.#hooks = hooks
  }

  /** See `Session.profile`. */
  async take(request: ProfileRequest, principal: Principal, call?: CallOptions): Promise<Uint8Array> {
    throwIfAborted(call?.signal)
    const { kind, durationMs } = checked(request)
    const { diagnostics } = this.#platform
    if (diagnostics === undefined) {
      throw new RatatoskrError('RTK_NOT_SUPPORTED', 'the platform of this broker takes no profiles')
    }
    if (this.#busy) {
      throw new RatatoskrError('RTK_LIMIT_EXCEEDED', 'a profile is being taken; ask again when it has ended')
    }
    this.#busy = true
    try {
      if (this.#hooks.observes('profileStarted')) {
        this.#hooks.emit('profileStarted', { principal, kind, durationMs })
      }
      const running = await diagnostics.startProfile(kind)
      return await this.#endOf(running, durationMs, call?.signal)
    } finally {
      this.#busy = false
    }
  }

  async #endOf(
    running: RunningProfile,
    durationMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    await this.#pause(durationMs, signal)
    const profile = await running.stop()
    throwIfAborted(signal)
    return profile
  }

  /** Ends early when the caller does not wait any more. */
  #pause(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer[Symbol.dispose]()
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = this.#platform.clock.after(durationMs, done)
      signal?.addEventListener('abort', done)
      if (signal?.aborted === true) done()
    })
  }
}

function checked({ kind, durationMs }: ProfileRequest): ProfileRequest {
  if (!kinds.includes(kind)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `kind must be ${kinds.join(' or ')}, got ${quoteForMessage(String(kind))}`,
    )
  }
  if (!Number.isInteger(durationMs) || durationMs < 1 || durationMs > durationMsMax) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `durationMs must be a whole number from 1 to ${durationMsMax}, got ${String(durationMs)}`,
    )
  }
  return { kind, durationMs }
}
