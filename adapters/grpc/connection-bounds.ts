/**
 * What a connection may make the broker keep: answers that its peer does not take, and requests that come while a stream of
 * the data plane waits. HTTP/2 has windows for each stream, and a peer may open many.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { RatatoskrError } from 'ratatoskr/ports'

/** Answers of calls that a peer has not taken, above which further calls of its connection are refused. */
const answerBytesMax = 64 * 1024 * 1024
/** Counting those costs time, so it is done at every so many calls; while there are too many, at each. */
const callsPerCount = 32
/** What came for streams of the data plane and cannot be carried out yet: some whole windows. */
const requestBytesKeptMax = 128 * 1024 * 1024

export class ConnectionBounds {
  readonly #fetchesInFlightMax: number
  readonly #fetches: ReadonlySet<string>
  readonly #connections = new WeakMap<ServerHttp2Session, ConnectionUse>()

  /**
   * @param fetchesInFlightMax calls of one connection that may wait for messages and whose answers may be large
   * @param fetches the paths of such calls
   */
  constructor(fetchesInFlightMax: number, fetches: readonly string[]) {
    this.#fetchesInFlightMax = fetchesInFlightMax
    this.#fetches = new Set(fetches)
  }

  /** Counts a call until its stream is over. @returns why it is refused, if it is */
  enter(stream: ServerHttp2Stream, path: string): RatatoskrError | undefined {
    return this.of(stream)?.enter(stream, this.#fetches.has(path) ? this.#fetchesInFlightMax : undefined)
  }

  /** What the connection of a stream uses; `undefined` when it is gone already. */
  of({ session, destroyed }: ServerHttp2Stream): ConnectionUse | undefined {
    if (session === undefined || destroyed) return undefined
    let use = this.#connections.get(session as ServerHttp2Session)
    if (use === undefined) {
      use = new ConnectionUse()
      this.#connections.set(session as ServerHttp2Session, use)
    }
    return use
  }
}

/** What one connection uses of its bounds. */
export class ConnectionUse {
  readonly #calls = new Set<ServerHttp2Stream>()
  #fetches = 0
  #untilCount = callsPerCount
  #requestBytesKept = 0

  /** @param fetchesMax of a call that is a fetch */
  enter(stream: ServerHttp2Stream, fetchesMax: number | undefined): RatatoskrError | undefined {
    if (fetchesMax !== undefined && this.#fetches >= fetchesMax) {
      return overloaded(
        `a connection may have ${fetchesMax} requests in flight (fetchesInFlightMax); wait for answers`,
      )
    }
    if (this.#hasTooManyAnswers()) {
      return overloaded(`more than ${answerBytesMax} bytes of answers wait to be taken; read them first`)
    }
    this.#calls.add(stream)
    if (fetchesMax !== undefined) this.#fetches++
    stream.once('close', () => {
      this.#calls.delete(stream)
      if (fetchesMax !== undefined) this.#fetches--
    })
    return undefined
  }

  /** A stream of the data plane keeps so many bytes more, or fewer. @throws RTK_OVERLOADED when it must not keep more */
  keep(bytes: number): void {
    this.#requestBytesKept += bytes
    if (bytes > 0 && this.#requestBytesKept > requestBytesKeptMax) {
      throw overloaded(
        `the streams of a connection may have ${requestBytesKeptMax} bytes waiting; take the answers, or use more connections`,
      )
    }
  }

  #hasTooManyAnswers(): boolean {
    if (--this.#untilCount > 0) return false
    let bytes = 0
    for (const { writableLength } of this.#calls) bytes += writableLength
    const tooMany = bytes > answerBytesMax
    this.#untilCount = tooMany ? 1 : callsPerCount
    return tooMany
  }
}

const overloaded = (message: string): RatatoskrError => new RatatoskrError('RTK_OVERLOADED', message)
