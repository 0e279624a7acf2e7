/**
 * The TCP transport: frames on a byte stream, the fastest way in. The protocol is described in `domain/wire`: frames.ts,
 * protocol.ts, and stream.ts for what is special to streams. With `path` it listens on a Unix socket instead.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { resolve as absolute } from 'node:path'
import { createServer as createTlsServer, type SecureContextOptions } from 'node:tls'
import { type FrameBoundsOptions, FrameConnections } from 'ratatoskr/adapters/frames'
import type {
  BoundAddress,
  BrokerFacade,
  Peer,
  Transport,
  TransportSupervision,
  TransportSupports,
} from 'ratatoskr/ports'
import { assertBindAllowed, isLocalHost, RatatoskrError } from 'ratatoskr/ports'
import { acceptStream, turnAway } from './carrier.ts'
import { listenOnPath } from './unix-socket.ts'

/** Where the TCP transport listens, and the bounds of each connection. */
export interface TcpTransportOptions extends FrameBoundsOptions {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Default 7282; 0 takes any free port. */
  readonly port?: number | undefined
  /** Lets other event loops of this process listen on the same port; the system spreads connections over them. */
  readonly reusePort?: boolean | undefined
  /** Listens on a Unix socket of this name, instead of host and port. */
  readonly path?: string | undefined
  /** Who may connect to the Unix socket, as a mode of its file. Default 0600: whoever the broker runs as. */
  readonly mode?: number | undefined
  /** Listens beyond loopback although nobody is asked for credentials. */
  readonly insecure?: boolean | undefined
  /** Certificate and key: then it listens for `tcps:`. Not for Unix sockets, which cross no network. */
  readonly tls?: Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'passphrase'> | undefined
  /** Largest frame from a client, in bytes. Default: room for the largest batch, also in base64. */
  readonly frameBytesMax?: number | undefined
}

/** Serves frames over TCP, or over a Unix socket. */
export const tcpTransport = (options: TcpTransportOptions = {}): Transport => new TcpTransport(options)

const supports: TransportSupports = Object.freeze({
  batches: true,
  push: true,
  credit: true,
  groups: true,
  administration: true,
  binary: true,
})

const frameRoomBytes = 64 * 1024 // what surrounds a batch in a frame
const defaultPort = 7_282

/** What exists while the transport is started. */
interface Running {
  readonly server: Server
  readonly connections: FrameConnections
  /** All that were accepted and are not gone, also those that are none of ours yet. */
  readonly sockets: Set<Socket>
  /** Removes what listening left behind. */
  readonly tidy: () => Promise<void>
}

class TcpTransport implements Transport {
  readonly name: string
  readonly supports = supports
  readonly #options: TcpTransportOptions
  #address: BoundAddress | undefined
  #running: Running | undefined
  #stopping: Promise<void> | undefined

  constructor(options: TcpTransportOptions) {
    if (options.path !== undefined && options.tls !== undefined) {
      throw new TypeError('a Unix socket takes no tls: its bytes cross no network')
    }
    this.name = options.path === undefined ? 'tcp' : 'unix'
    this.#options = options
  }

  get address(): BoundAddress | undefined {
    return this.#address
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    if (this.#address !== undefined) return this.#address
    const { host = '127.0.0.1', port = defaultPort, reusePort = false, path, mode = 0o600 } = this.#options
    const { insecure, tls } = this.#options
    assertBindAllowed(path === undefined ? host : 'unix:', {
      insecure,
      authenticator: broker.authenticator,
    })
    const sockets = new Set<Socket>()
    const server = this.#createServer()
    const keep = (socket: Socket): void => {
      if (sockets.has(socket)) return
      sockets.add(socket)
      socket.on('error', () => {}) // 'close' follows and is what counts
      socket.once('close', () => sockets.delete(socket))
    }
    server.on('connection', keep)
    const tidy =
      path === undefined
        ? await listening(server, host, port, reusePort)
        : await listenOnPath(server, absolute(path), mode)
    const connections = new FrameConnections(broker, this.#options)
    server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) =>
      this.#accept(socket, broker, connections, keep),
    )
    server.on('error', (cause) => {
      supervision.failed(new RatatoskrError('RTK_UNAVAILABLE', `the ${this.name} listener failed`, { cause }))
    })
    this.#running = { server, connections, sockets, tidy }
    this.#address =
      path === undefined ? addressOf(server, host, tls !== undefined) : addressOfPath(absolute(path))
    return this.#address
  }

  stop(deadlineMs: number): Promise<void> {
    const running = this.#running
    if (running === undefined) return this.#stopping ?? Promise.resolve()
    this.#running = undefined
    this.#address = undefined
    this.#stopping = this.#stop(running, deadlineMs)
    return this.#stopping
  }

  async #stop({ server, connections, sockets, tidy }: Running, deadlineMs: number): Promise<void> {
    const gone = new Promise<void>((resolve) => server.close(() => resolve()))
    await tidy()
    await connections.stop(deadlineMs)
    for (const socket of sockets) socket.destroy()
    await gone
  }

  #createServer(): Server {
    const { tls, handshakeTimeoutMs: handshakeTimeout = 10_000 } = this.#options
    return tls === undefined
      ? createServer({ noDelay: true })
      : createTlsServer({ noDelay: true, handshakeTimeout, ...tls })
  }

  #accept(
    accepted: Socket,
    broker: BrokerFacade,
    connections: FrameConnections,
    keep: (socket: Socket) => void,
  ): void {
    if (connections.full) {
      const error = new RatatoskrError('RTK_LIMIT_EXCEEDED', 'too many connections (sessionsMax)')
      turnAway(accepted, error, broker.platform.clock)
      return
    }
    const { tls, frameBytesMax = Math.ceil(broker.limits.batchBytesMax / 3) * 4 + frameRoomBytes } =
      this.#options
    const peer = peerOf(accepted, this.name, tls !== undefined)
    const { bounds } = connections
    connections.add(acceptStream({ accepted, peer, broker, bounds, frameBytesMax, keep }))
  }
}

function peerOf(socket: Socket, transport: string, encrypted: boolean): Peer {
  if (transport === 'unix') return { transport, address: 'unix', local: true, encrypted }
  const host = socket.remoteAddress ?? ''
  const shown = host.includes(':') ? `[${host}]` : host
  const address = `${shown}:${socket.remotePort ?? 0}`
  return { transport, address, local: isLocalHost(host), encrypted }
}

/** Resolves when the server accepts connections, to what is left to tidy up. @throws RTK_ADDRESS_IN_USE, RTK_CONFIG_INVALID */
async function listening(
  server: Server,
  host: string,
  port: number,
  reusePort: boolean,
): Promise<() => Promise<void>> {
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void => {
      const where = `${host}:${port}`
      const error =
        cause.code === 'EADDRINUSE'
          ? new RatatoskrError('RTK_ADDRESS_IN_USE', `${where} is taken; choose another port, or 0`, {
              cause,
            })
          : new RatatoskrError(
              'RTK_CONFIG_INVALID',
              `cannot listen on ${where} (${cause.code}); choose an address of this machine`,
              { cause },
            )
      reject(error)
    }
    server.once('error', failed)
    server.listen({ host, port, reusePort }, () => {
      server.off('error', failed)
      resolve()
    })
  })
  return async () => {}
}

function addressOf(server: Server, host: string, encrypted: boolean): BoundAddress {
  const { port } = server.address() as AddressInfo
  const shown = host.includes(':') ? `[${host}]` : host
  return Object.freeze({ host, port, url: `${encrypted ? 'tcps' : 'tcp'}://${shown}:${port}` })
}

function addressOfPath(path: string): BoundAddress {
  const url = `unix:${path.split('/').map(encodeURIComponent).join('/')}`
  return Object.freeze({ host: path, port: 0, url })
}
