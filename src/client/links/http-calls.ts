/** Requests to one broker over HTTP, their errors as the broker gave them, and the end of all of them. */
import { errorFromJson, parseJson, RatatoskrError } from '../../ports/index.ts'
import type { LinkOptions } from '../link.ts'

/** Nesting of JSON that is read from a broker. */
export const jsonDepthMax = 32

export class HttpCalls {
  readonly closed: Promise<RatatoskrError | undefined>
  readonly frameBytesMax: number
  readonly #base: URL
  readonly #authorization: string | undefined
  readonly #ended = new AbortController()
  readonly #atClose = new Set<() => Promise<void>>()
  #settle: (reason: RatatoskrError | undefined) => void = () => {}

  constructor(base: URL, { credentials, frameBytesMax }: LinkOptions) {
    this.#base = base
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
      response = await fetch(new URL(path, this.#base), { ...init, method, headers, signal })
    } catch (cause) {
      throw this.lost(cause, init.signal)
    }
    if (!response.ok) throw await errorOf(response)
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
    return parseJson(await this.bytes(response), { depthMax: jsonDepthMax }) as T
  }

  async bytes(response: Response): Promise<Uint8Array> {
    try {
      return new Uint8Array(await response.arrayBuffer())
    } catch (cause) {
      throw this.lost(cause)
    }
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

async function errorOf(response: Response): Promise<RatatoskrError> {
  try {
    const { code, detail, details } = (await response.json()) as Record<string, unknown>
    return errorFromJson({ code, message: detail, details })
  } catch (cause) {
    const message = `the other side answered ${response.status} without a problem document; is it a broker?`
    return new RatatoskrError('RTK_FRAME_MALFORMED', message, { cause })
  }
}
