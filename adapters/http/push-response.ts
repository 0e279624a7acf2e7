/**
 * A response that goes on: what is sent before its headers is held back, a slow reader is waited for, and a sign of life
 * comes now and then, because proxies and browsers give up on connections that stay silent.
 */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Clock } from 'ratatoskr/ports'

type Chunk = string | Uint8Array

export interface Heartbeat {
  readonly clock: Clock
  readonly intervalMs: number
  /** What readers pass over. */
  readonly sign: Chunk
}

export class PushResponse {
  readonly #response: ServerResponse
  readonly #heartbeat: Heartbeat
  readonly #beginning = Promise.withResolvers<void>()
  #timer: Disposable | undefined
  #held: Chunk[] = []
  #begun = false
  #ended = false

  constructor(response: ServerResponse, heartbeat: Heartbeat) {
    this.#response = response
    this.#heartbeat = heartbeat
    response.once('close', () => this.#timer?.[Symbol.dispose]())
  }

  /** Sends the headers, `first`, and what was held back. */
  begin(headers: OutgoingHttpHeaders, first: Chunk): void {
    // The connection ends with the stream, so that a transport that stops need not wait for it to become idle.
    this.#response.writeHead(200, { 'cache-control': 'no-store', connection: 'close', ...headers })
    this.#begun = true
    this.#write([first, ...this.#held])
    this.#held = []
    this.#beginning.resolve()
    if (this.#ended) this.#response.end()
    else if (!this.#response.destroyed) this.#beat()
  }

  /** @returns a promise while the reader is slower than we are, or the headers are not sent */
  send(...chunks: readonly Chunk[]): Promise<void> | undefined {
    if (this.#ended || this.#response.destroyed) return undefined
    if (this.#begun) return this.#write(chunks)
    this.#held.push(...chunks)
    return this.#beginning.promise
  }

  /** Sends the last of it. Only the first call counts. */
  end(last: Chunk): void {
    if (this.#ended) return
    this.send(last)
    this.#ended = true
    this.#timer?.[Symbol.dispose]()
    if (this.#begun) this.#response.end()
  }

  // The callback is waited for, not `drain`: Node loses that one when what is corked just fills the socket's buffer.
  #write(chunks: readonly Chunk[]): Promise<void> | undefined {
    const response = this.#response
    let settle = (): void => {}
    let flowing = true
    for (const [i, chunk] of chunks.entries())
      flowing = response.write(chunk, i === chunks.length - 1 ? () => settle() : undefined)
    if (flowing || response.destroyed) return undefined
    return new Promise((resolve) => {
      settle = () => {
        response.off('close', settle)
        resolve()
      }
      response.on('close', settle)
    })
  }

  #beat(): void {
    const { clock, intervalMs, sign } = this.#heartbeat
    this.#timer = clock.after(intervalMs, () => {
      if (!this.#response.writableNeedDrain) this.#response.write(sign)
      this.#beat()
    })
  }
}
