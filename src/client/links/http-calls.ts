/** Requests to one broker over HTTP, their errors as the broker gave them, and the end of all of them. */
import { type Clock, errorFromJson, parseJson, RatatoskrError } from '../../ports/index.ts'
import type { LinkOptions } from '../link.ts'

/** Nesting of JSON that is read from a broker. */
export const jsonDepthMax = 32

export class HttpCalls {
  readonly closed: Promise<RatatoskrError | undefined>
  readonly clock: Clock
  readonly frameBytesMax: number
  readonly #base: URL
  readonly #authorization: string | undefined
  readonly #ended = new AbortController()
  readonly #atClose = new Set<() => Promise<void>>()
  #settle: (reason: RatatoskrError | undefined) => void = () => {}

  constructor(base: URL, { credentials, frameBytesMax, platform }: LinkOptions) {
    this.#base = base
    this.clock = platform.clock
    this.frameBytesMax = frameBytesMax
    if (credentials.kind === 'bearer') this.#authorization = `Bearer ${credentials.token}`
    if (credentials.kind === 'basic') {
      this.#authorization = `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
    }
    this.closed = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** Sends a request and gives the response when it is a success. @throws the error that the broker reported */
  async send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    if (this.#ended.signal.aborted) throw closedError()
    const headers = new Headers(init.headers)
    if (this.#authorization !== undefined) headers.set('authorization', this.#authorization)
    const signal = AbortSignal.any([this.#ended.signal, ...(init.signal ? [init.signal] : [])])
    let response: Response
    try {
      // A broker never sends callers elsewhere, and credentials go to nobody else.
      response = await fetch(new URL(path, this.#base), {
        ...init,
        method,
        headers,
        signal,
        redirect: 'manual',
      })
    } catch (cause) {
      throw this.lost(cause, init.signal)
    }
    if (!response.ok) throw await this.#errorOf(response, init.signal)
    return response
  }

  /** Sends JSON and reads JSON. */
  async json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const json =
      body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    const response = await this.send(method, path, { ...json, signal: signal ?? null })
    if (response.status === 204) return undefined as T
    return this.readJson(response, signal)
  }

  /** The whole body as JSON. */
  async readJson<T>(response: Response, signal?: AbortSignal | null): Promise<T> {
    return parseJson(await this.bytes(response, signal), { depthMax: jsonDepthMax }) as T
  }

  /** The whole body. @throws RTK_FRAME_MALFORMED when it is larger than the link accepts */
  async bytes(response: Response, signal?: AbortSignal | null): Promise<Uint8Array> {
    if (response.body === null) return new Uint8Array(0)
    const chunks: Uint8Array[] = []
    let length = 0
    try {
      for await (const chunk of response.body) {
        length += chunk.length
        if (length > this.frameBytesMax) break
        chunks.push(chunk)
      }
    } catch (cause) {
      throw this.lost(cause, signal)
    }
    if (length > this.frameBytesMax) {
      const message = `an answer is above the limit of ${this.frameBytesMax} bytes`
      throw new RatatoskrError('RTK_FRAME_MALFORMED', message)
    }
    return joined(chunks, length)
  }

  /** What a broken connection means: the caller's own abort, our own end, or the loss of the broker. */
  lost(cause: unknown, signal?: AbortSignal | null): RatatoskrError {
    if (signal?.aborted === true)
      return new RatatoskrError('RTK_CANCELLED', 'the caller cancelled the call', { cause })
    if (this.#ended.signal.aborted) return closedError()
    const error = new RatatoskrError('RTK_DISCONNECTED', 'the broker does not answer over HTTP, or hung up', {
      cause,
    })
    this.#settle(error)
    return error
  }

  /** The error that an answer tells of. */
  async #errorOf(response: Response, signal?: AbortSignal | null): Promise<RatatoskrError> {
    const bytes = await this.bytes(response, signal)
    try {
      const { code, detail, details } = parseJson(bytes, { depthMax: jsonDepthMax }) as Record<
        string,
        unknown
      >
      return errorFromJson({ code, message: detail, details })
    } catch (cause) {
      const message = `the other side answered ${response.status} without a problem document; is it a broker?`
      return new RatatoskrError('RTK_FRAME_MALFORMED', message, { cause })
    }
  }

  /** Runs `close` before everything is aborted. @returns what takes it back */
  beforeClose(close: () => Promise<void>): () => void {
    this.#atClose.add(close)
    return () => this.#atClose.delete(close)
  }

  /** Ends the subscriptions, then everything else. */
  async close(): Promise<void> {
    this.#settle(undefined)
    await Promise.allSettled([...this.#atClose].map((close) => close()))
    this.#ended.abort()
  }
}

const closedError = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the connection was closed')

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  if (chunks.length === 1) return chunks[0]
  const whole = new Uint8Array(length)
  let filled = 0
  for (const chunk of chunks) {
    whole.set(chunk, filled)
    filled += chunk.length
  }
  return whole
}
