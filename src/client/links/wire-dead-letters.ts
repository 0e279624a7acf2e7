/** Dead letters over a wire link. */
import type {
  CallOptions,
  DeadLetterPage,
  DeadLetterRequest,
  PurgeRequest,
  PurgeResult,
  RedriveRequest,
  RedriveResult,
} from '../../ports/index.ts'
import { deadLetterRequestToJson, letterFromJson } from '../../ports/index.ts'
import { abortError, unlessAborted } from '../call.ts'
import type { WireChannel } from './wire-channel.ts'

export class WireDeadLetters {
  readonly #channel: WireChannel

  constructor(channel: WireChannel) {
    this.#channel = channel
  }

  async list(topic: string, request: DeadLetterRequest = {}, call?: CallOptions): Promise<DeadLetterPage> {
    const page = await this.#ask<DeadLetterPage>('deadLetters', topic, request, call)
    return { ...page, letters: page.letters.map((letter) => letterFromJson(letter)) }
  }

  redrive(topic: string, request: RedriveRequest = {}, call?: CallOptions): Promise<RedriveResult> {
    return this.#ask('redriveDeadLetters', topic, request, call)
  }

  purge(topic: string, request: PurgeRequest = {}, call?: CallOptions): Promise<PurgeResult> {
    return this.#ask('purgeDeadLetters', topic, request, call)
  }

  /** Asks the broker to stop what it has begun when the caller does not wait any more. */
  async #ask<Reply>(
    operation: string,
    topic: string,
    request: PurgeRequest,
    { signal }: CallOptions = {},
  ): Promise<Reply> {
    if (signal?.aborted) throw abortError(signal, operation)
    const id = this.#channel.takeId()
    const asked = this.#channel.request(operation, { ...deadLetterRequestToJson(request), topic }, id)
    const cancel = (): void => this.#channel.notify('cancel', { request: id })
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      return (await unlessAborted(asked, signal, operation)) as Reply
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }
}
