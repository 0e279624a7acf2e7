/** Reads server-sent events as a browser does: fields, ids, comments. */
export interface ServerEvent {
  readonly id: string | undefined
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

export class EventReader {
  readonly response: Response
  /** Comments seen so far. */
  comments = 0
  readonly #abort: AbortController
  readonly #chunks: ReadableStreamDefaultReader<string>
  #text = ''

  constructor(response: Response, abort: AbortController) {
    this.response = response
    this.#abort = abort
    this.#chunks = (response.body as ReadableStream<Uint8Array<ArrayBuffer>>)
      .pipeThrough(new TextDecoderStream())
      .getReader()
  }

  /** The next event; undefined at the end of the stream. */
  async next(): Promise<ServerEvent | undefined> {
    for (;;) {
      const block = await this.#block()
      if (block === undefined) return undefined
      const event = eventOf(block)
      if (event !== undefined) return event
    }
  }

  /** The next events of this name. */
  async take(count: number, name = 'message'): Promise<ServerEvent[]> {
    const events: ServerEvent[] = []
    while (events.length < count) {
      const event = await this.next()
      if (event === undefined) throw new Error(`the stream ended after ${events.length} of ${count} events`)
      if (event.event === name) events.push(event)
    }
    return events
  }

  /** Waits for a comment. */
  async comment(): Promise<void> {
    const before = this.comments
    while (this.comments === before)
      if ((await this.#block()) === undefined) throw new Error('the stream ended')
  }

  leave(): void {
    this.#abort.abort()
  }

  async #block(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end !== -1) {
        const block = this.#text.slice(0, end)
        this.#text = this.#text.slice(end + 2)
        if (block.startsWith(':')) this.comments++
        return block
      }
      const { done, value } = await this.#chunks.read()
      if (done) return undefined
      this.#text += value
    }
  }
}

function eventOf(block: string): ServerEvent | undefined {
  const fields = new Map<string, string>()
  for (const line of block.split('\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 2))
  }
  const event = fields.get('event')
  if (event === undefined) return undefined
  return { id: fields.get('id'), event, data: JSON.parse(fields.get('data') ?? 'null') }
}
