/** Server-sent events on one response: back-pressure, heartbeats, and what comes before the headers are sent. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Clock, RatatoskrError } from 'ratatoskr/ports'
import { problemOf } from './problem.ts'

export class EventStream {
  readonly #response: ServerResponse
  readonly #clock: Clock
  readonly #heartbeatMs: number
  #heartbeat: Disposable | undefined
  #begun = false
  #ended = false
  #early = ''

  constructor(response: ServerResponse, clock: Clock, heartbeatMs: number) {
    this.#response = response
    this.#clock = clock
    this.#heartbeatMs = heartbeatMs
    response.once('close', () => this.#heartbeat?.[Symbol.dispose]())
  }

  /** Sends the headers and what was sent before them. */
  begin(headers: OutgoingHttpHeaders): void {
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      ...headers,
    })
    this.#begun = true
    this.#response.write(`retry: 1000\n\n${this.#early}`)
    this.#early = ''
    if (this.#ended) this.#response.end()
    else this.#beat()
  }

  /** Sends an event. @returns a promise while the reader is slower than we are */
  send(event: string, data: unknown, id?: string): Promise<void> | undefined {
    if (this.#ended) return undefined
    const text = `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
    if (!this.#begun) {
      this.#early += text
      return undefined
    }
    if (this.#response.write(text) || this.#response.destroyed) return undefined
    return new Promise((resolve) => {
      const settle = () => {
        this.#response.off('drain', settle)
        this.#response.off('close', settle)
        resolve()
      }
      this.#response.on('drain', settle)
      this.#response.on('close', settle)
    })
  }

  /** Says why the stream ends, and ends it. Only the first reason counts. */
  end(reason: RatatoskrError | undefined): void {
    if (this.#ended) return
    if (reason !== undefined) this.send('error', problemOf(reason))
    this.#ended = true
    this.#heartbeat?.[Symbol.dispose]()
    if (this.#begun) this.#response.end()
  }

  // Proxies and browsers give up on silent connections; a comment is no event.
  #beat(): void {
    this.#heartbeat = this.#clock.after(this.#heartbeatMs, () => {
      if (this.#response.writableNeedDrain !== true) this.#response.write(':\n\n')
      this.#beat()
    })
  }
}
