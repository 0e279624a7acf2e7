/**
 * What a connection may make the broker keep: answers that its peer does not take, requests that come and are not carried out
 * yet, and what compressed ones become. HTTP/2 has windows for each stream, and a peer may open many.
 */
import { promisify } from 'node:util'
import { gunzip, inflate } from 'node:zlib'
import { isRatatoskrError, RatatoskrError } from 'ratatoskr/ports'
import { FrameError } from 'ratatoskr/proto'
import type { Encoding } from './call-headers.ts'

/** Answers of calls that a peer has not taken, above which further calls of its connection are refused. */
const answerBytesMax = 64 * 1024 * 1024
/** Counting those costs time, so it is done at every so many calls; while there are too many, at each. */
const callsPerCount = 32
/** What came for calls and is not carried out yet: some whole windows. */
const requestBytesKeptMax = 128 * 1024 * 1024
/** The same as long as nobody knows who calls. */
const strangersBytesKeptMax = 1024 * 1024

/** A call, as far as it is counted. */
export interface CountedCall {
  readonly bytesWaiting: number
}

const expanders = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const

/** What one connection uses of its bounds. */
export class ConnectionUse {
  readonly #calls = new Set<CountedCall>()
  #fetches = 0
  #untilCount = callsPerCount
  #requestBytesKept = 0
  /** Somebody was let in. */
  #isKnown = false
  /** How often it is just being found out who calls. */
  #asking = 0
  /** Told when reading may go on. */
  #goOn: (() => void) | undefined
  #expanding: Promise<unknown> | undefined

  /**
   * Counts a call, until it leaves.
   * @param fetchesMax of a call that may wait for messages or whose answer may be large: of how many
   * @returns why it is refused, if it is
   */
  enter(call: CountedCall, fetchesMax: number | undefined): RatatoskrError | undefined {
    if (fetchesMax !== undefined && this.#fetches >= fetchesMax) {
      return overloaded(
        `a connection may have ${fetchesMax} requests in flight (fetchesInFlightMax); wait for answers`,
      )
    }
    if (this.#hasTooManyAnswers()) {
      return overloaded(`more than ${answerBytesMax} bytes of answers wait to be taken; read them first`)
    }
    this.#calls.add(call)
    if (fetchesMax !== undefined) this.#fetches++
    return undefined
  }

  /** A call that has entered is over. */
  leave(call: CountedCall, fetchesMax: number | undefined): void {
    if (this.#calls.delete(call) && fetchesMax !== undefined) this.#fetches--
  }

  /** It is being found out who calls. */
  asks(session: Promise<unknown>): void {
    this.#asking++
    const answered = (isKnown: boolean): void => {
      this.#asking--
      this.#isKnown ||= isKnown
      this.#goOn?.()
    }
    session.then(
      () => answered(true),
      () => answered(false),
    )
  }

  /**
   * Whether no more is to be read for now, for a stranger keeps enough: what is not read stays with the client.
   * @param goOn called when it is known who calls, or that nobody knows
   */
  mustWait(goOn: () => void): boolean {
    const must = this.#asking > 0 && !this.#isKnown && this.#requestBytesKept > strangersBytesKeptMax
    this.#goOn = must ? goOn : undefined
    return must
  }

  /** A call keeps so many bytes of requests more, or fewer. @throws RTK_OVERLOADED when it must not keep more */
  keep(bytes: number): void {
    this.#requestBytesKept += bytes
    if (bytes <= 0) return
    const isStranger = !this.#isKnown && this.#asking === 0
    const bytesMax = isStranger ? strangersBytesKeptMax : requestBytesKeptMax
    if (this.#requestBytesKept > bytesMax) {
      throw overloaded(
        `the calls of a connection may have ${bytesMax} bytes waiting; take the answers, or use more connections`,
      )
    }
  }

  /**
   * What a compressed message was. One at a time of a connection: a few bytes may become very many.
   * @throws FrameError when it is none, or above `bytesMax`; RTK_OVERLOADED when the connection must not keep more
   */
  async expand(message: Uint8Array, encoding: Encoding, bytesMax: number): Promise<Uint8Array> {
    if (encoding === 'identity')
      throw new FrameError('a message is compressed, which was not agreed on', false)
    try {
      this.keep(message.length)
      const expanding = Promise.resolve(this.#expanding).then(() =>
        expanders[encoding](message, { maxOutputLength: bytesMax }),
      )
      this.#expanding = expanding.catch(() => undefined)
      return await expanding
    } catch (error) {
      if (isRatatoskrError(error)) throw error
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
        throw new FrameError(`a message is above the limit of ${bytesMax} bytes when it is expanded`, true)
      throw new FrameError(`a message is no ${encoding}`, false)
    } finally {
      this.keep(-message.length)
    }
  }

  #hasTooManyAnswers(): boolean {
    if (--this.#untilCount > 0) return false
    let bytes = 0
    for (const { bytesWaiting } of this.#calls) bytes += bytesWaiting
    const tooMany = bytes > answerBytesMax
    this.#untilCount = tooMany ? 1 : callsPerCount
    return tooMany
  }
}

const overloaded = (message: string): RatatoskrError => new RatatoskrError('RTK_OVERLOADED', message)
