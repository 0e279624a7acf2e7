/**
 * A transport of one's own: JSON lines over TCP, written against `ratatoskr/ports` alone. Try it with netcat:
 *
 *     {"op":"publish","id":1,"topic":"orders","message":{"payload":"aGVsbG8="}}
 *     {"id":1,"ok":{"id":"…","partition":0,"offset":0,"durability":"memory"}}
 *
 * A line is a request with an `id`; its answer has the same id and `ok` or `error`. A subscription pushes events that
 * carry the id of the request that began it. A line `{"op":"hello","token":"…"}` before any other says who one is.
 */
import { createServer, type Server, type Socket } from 'node:net'
import {
  assertBindAllowed,
  type BoundAddress,
  type BrokerFacade,
  type Credentials,
  errorToJson,
  isLocalHost,
  parseJson,
  RatatoskrError,
  type Session,
  type Transport,
  type TransportSupervision,
  toRatatoskrError,
} from 'ratatoskr/ports'
import { LineCalls } from './line-calls.ts'

export interface LineTransportOptions {
  readonly host?: string
  readonly port: number
  readonly insecure?: boolean
}

/** Makes the transport. */
export const lineTransport = (options: LineTransportOptions): Transport => new LineTransport(options)

class LineTransport implements Transport {
  readonly name = 'line'
  readonly supports = Object.freeze({
    batches: false,
    push: true,
    credit: true,
    groups: true,
    administration: true,
    binary: true,
  })
  readonly #options: LineTransportOptions
  readonly #connections = new Set<LineConnection>()
  #server: Server | undefined
  address: BoundAddress | undefined

  constructor(options: LineTransportOptions) {
    this.#options = options
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    if (this.address !== undefined) return this.address
    const { host = '127.0.0.1', port, insecure = false } = this.#options
    assertBindAllowed(host, { insecure, authenticator: broker.authenticator })
    // Without Nagle's delay, which holds a line back until the peer has confirmed the one before.
    const server = createServer({ noDelay: true }, (socket) => {
      const connection = new LineConnection(socket, broker)
      this.#connections.add(connection)
      socket.on('close', () => this.#connections.delete(connection))
    })
    await listen(server, host, port)
    server.on('error', (cause) =>
      supervision.failed(new RatatoskrError('RTK_UNAVAILABLE', 'the listener failed', { cause })),
    )
    this.#server = server
    const bound = (server.address() as { port: number }).port
    this.address = { host, port: bound, url: `tcp://${host}:${bound}` }
    return this.address
  }

  async stop(deadlineMs: number): Promise<void> {
    const server = this.#server
    this.#server = undefined
    this.address = undefined
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const connection of this.#connections) connection.end()
    const cut = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, deadlineMs)
    await closed
    clearTimeout(cut)
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE'
      const message = taken
        ? `port ${port} is taken; choose another, or 0 for any`
        : `cannot listen on ${host} port ${port}`
      reject(new RatatoskrError(taken ? 'RTK_ADDRESS_IN_USE' : 'RTK_CONFIG_INVALID', message, { cause }))
    })
    server.listen(port, host, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}

const lineFeed = 0x0a

/** One connection: cuts the bytes into lines, and answers each. */
class LineConnection {
  readonly #socket: Socket
  readonly #broker: BrokerFacade
  readonly #lineBytesMax: number
  #parts: Buffer[] = []
  #partBytes = 0
  #calls: Promise<LineCalls> | undefined

  constructor(socket: Socket, broker: BrokerFacade) {
    this.#socket = socket
    this.#broker = broker
    // Base64 makes a batch a third longer; names and numbers come on top.
    this.#lineBytesMax = Math.ceil(broker.limits.batchBytesMax * 1.4) + 64 * 1024
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => void this.#calls?.then((calls) => calls.session.close()).catch(() => undefined))
  }

  /** Tells that no more answers will come. */
  end(): void {
    this.#socket.end(
      line({
        event: 'closing',
        error: errorToJson(new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping')),
      }),
    )
    void this.#calls?.then((calls) => calls.session.close()).catch(() => undefined)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    let start = 0
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
      const rest = chunk.subarray(start, end)
      void this.#answer(this.#parts.length === 0 ? rest : Buffer.concat([...this.#parts, rest]))
      this.#parts = []
      this.#partBytes = 0
      start = end + 1
    }
    if (start === chunk.length) return
    this.#parts.push(chunk.subarray(start))
    this.#partBytes += chunk.length - start
    if (this.#partBytes > this.#lineBytesMax) this.#refuse('a line is too long')
  }

  async #answer(bytes: Buffer): Promise<void> {
    let request: Record<string, unknown>
    try {
      request = parseJson(bytes, { depthMax: this.#broker.limits.jsonDepthMax }) as Record<string, unknown>
      if (typeof request?.op !== 'string' || !Number.isSafeInteger(request.id))
        throw new Error('a request has op and id')
    } catch {
      this.#refuse('a line must be a JSON object with op and id')
      return
    }
    const { id, op, ...fields } = request as { id: number; op: string }
    try {
      const token = op === 'hello' ? (fields as { token?: unknown }).token : undefined
      this.#calls ??= this.#connect(typeof token === 'string' ? { kind: 'bearer', token } : { kind: 'none' })
      const calls = await this.#calls
      this.#write({ id, ok: op === 'hello' ? {} : await calls.run(op, id, fields) })
      calls.answered(id)
    } catch (error) {
      this.#write({ id, error: errorToJson(toRatatoskrError(error)) })
    }
  }

  async #connect(credentials: Credentials): Promise<LineCalls> {
    const address = this.#socket.remoteAddress ?? ''
    const peer = {
      transport: 'line',
      address: `${address}:${this.#socket.remotePort}`,
      local: isLocalHost(address),
      encrypted: false,
    }
    const session: Session = await this.#broker.connect(peer, credentials)
    if (this.#socket.destroyed) await session.close()
    return new LineCalls(session, this.#broker, (event) => this.#write(event))
  }

  /** @returns a promise while the peer reads more slowly than we write */
  #write(value: object): Promise<void> | undefined {
    if (!this.#socket.writable || this.#socket.write(line(value))) return undefined
    return new Promise((resolve) => {
      this.#socket.once('drain', resolve).once('close', resolve)
    })
  }

  #refuse(message: string): void {
    this.#socket.end(line({ error: errorToJson(new RatatoskrError('RTK_FRAME_MALFORMED', message)) }))
    this.#socket.destroySoon()
  }
}

const line = (value: object): string => `${JSON.stringify(value)}\n`
