/**
 * The WebSocket transport: listens, checks handshakes, and keeps the connections.
 * The protocol is described with its frames, in `domain/wire`.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
import { type FrameBoundsOptions, FrameConnections } from 'ratatoskr/adapters/frames'
import type {
  BoundAddress,
  BrokerFacade,
  Transport,
  TransportSupervision,
  TransportSupports,
} from 'ratatoskr/ports'
import {
  assertBindAllowed,
  binarySubprotocol,
  errorToJson,
  jsonSubprotocol,
  RatatoskrError,
} from 'ratatoskr/ports'
import { type WebSocket, WebSocketServer } from 'ws'
import { acceptWebSocket } from './carrier.ts'
import { chosenSubprotocol, credentialsOf, peerOf, refusal, refusalOf, refuse } from './handshake.ts'
import { SplitStream } from './split-stream.ts'

// Imported as ES modules, they would load all that Node has of HTTP clients for exports that nobody here uses: 9 MB.
const { createServer: createHttpServer } = process.getBuiltinModule('node:http')
const { createServer: createHttpsServer } = process.getBuiltinModule('node:https')

/** Where the WebSocket transport listens, and the bounds of each connection. */
export interface WebSocketTransportOptions extends FrameBoundsOptions {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** Default 8081; 0 takes any free port. */
  readonly port?: number | undefined
  /** Lets other event loops of this process listen on the same port; the system spreads connections over them. */
  readonly reusePort?: boolean | undefined
  /** Listens beyond loopback although nobody is asked for credentials. */
  readonly insecure?: boolean | undefined
  /** Certificate and key: then it listens for `wss:`. */
  readonly tls?: Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'passphrase'> | undefined
  /** Origins of pages that may connect, such as `https://app.example`; `*` for every page. Default: none. */
  readonly allowedOrigins?: readonly string[] | undefined
  /** Largest message from a client, in bytes. Default: room for the largest batch, also in base64. */
  readonly frameBytesMax?: number | undefined
}

/** Serves `ratatoskr.v1+json` and `ratatoskr.v1+binary`. */
export const webSocketTransport = (options: WebSocketTransportOptions = {}): Transport =>
  new WebSocketTransport(options)

const supports: TransportSupports = Object.freeze({
  batches: true,
  push: true,
  credit: true,
  groups: true,
  administration: true,
  binary: true,
})

const frameRoomBytes = 64 * 1024 // what surrounds a batch in a frame
const headerBytesMax = 16 * 1024
const noBytes = Buffer.alloc(0)

/** What exists while the transport is started. */
interface Running {
  readonly broker: BrokerFacade
  readonly server: Server
  readonly upgrader: WebSocketServer
  readonly connections: FrameConnections
}

class WebSocketTransport implements Transport {
  readonly name = 'websocket'
  readonly supports = supports
  readonly #options: WebSocketTransportOptions
  #address: BoundAddress | undefined
  #running: Running | undefined
  #stopping: Promise<void> | undefined

  constructor(options: WebSocketTransportOptions) {
    this.#options = options
  }

  get address(): BoundAddress | undefined {
    return this.#address
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    if (this.#address !== undefined) return this.#address
    const { host = '127.0.0.1', port = 8081, reusePort = false, insecure } = this.#options
    assertBindAllowed(host, { insecure, authenticator: broker.authenticator })
    const server = this.#createServer(this.#options.handshakeTimeoutMs ?? 10_000)
    await listening(server, host, port, reusePort)
    const running = this.#run(broker, server)
    server.on('upgrade', (request, socket, head) => this.#upgrade(running, request, socket, head))
    server.on('error', (cause) => {
      supervision.failed(new RatatoskrError('RTK_UNAVAILABLE', 'the WebSocket listener failed', { cause }))
    })
    this.#running = running
    this.#address = addressOf(server, host, this.#options.tls !== undefined)
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

  async #stop({ server, connections }: Running, deadlineMs: number): Promise<void> {
    const gone = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await connections.stop(deadlineMs)
    await gone
  }

  #createServer(handshakeTimeoutMs: number): Server {
    const options = {
      maxHeaderSize: headerBytesMax,
      headersTimeout: handshakeTimeoutMs,
      requestTimeout: handshakeTimeoutMs,
      connectionsCheckingInterval: Math.min(handshakeTimeoutMs, 1_000),
    }
    const { tls } = this.#options
    const server = tls === undefined ? createHttpServer(options) : createHttpsServer({ ...options, ...tls })
    server.on('request', answerPlainRequest)
    return server
  }

  #payloadBytesMax({ limits }: BrokerFacade): number {
    return this.#options.frameBytesMax ?? Math.ceil(limits.batchBytesMax / 3) * 4 + frameRoomBytes
  }

  #run(broker: BrokerFacade, server: Server): Running {
    const upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: this.#payloadBytesMax(broker),
      handleProtocols: (offered) => chosenSubprotocol(offered) ?? false,
    })
    return { broker, server, upgrader, connections: new FrameConnections(broker, this.#options) }
  }

  #upgrade(running: Running, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { upgrader, connections, broker } = running
    if (connections.full) {
      refuse(socket, refusal(503, 'RTK_LIMIT_EXCEEDED', 'too many connections (sessionsMax)'))
      return
    }
    const refused = refusalOf(request, this.#options.allowedOrigins ?? [])
    if (refused !== undefined) {
      refuse(socket, refused)
      return
    }
    const peer = peerOf(request, this.#options.tls !== undefined)
    const stream = new SplitStream(socket as Socket, this.#payloadBytesMax(broker))
    upgrader.handleUpgrade(request, stream, noBytes, (ws: WebSocket) => {
      const { bounds } = connections
      const credentials = credentialsOf(request)
      connections.add(acceptWebSocket(ws, stream, head, { peer, credentials, broker, bounds }))
    })
  }
}

/** Resolves when the server accepts connections. @throws RTK_ADDRESS_IN_USE, RTK_CONFIG_INVALID */
async function listening(server: Server, host: string, port: number, reusePort: boolean): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void => {
      const where = `${host}:${port}`
      if (cause.code === 'EADDRINUSE') {
        reject(
          new RatatoskrError('RTK_ADDRESS_IN_USE', `${where} is taken; choose another port, or 0`, { cause }),
        )
      } else {
        const what = `cannot listen on ${where} (${cause.code}); choose an address of this machine`
        reject(new RatatoskrError('RTK_CONFIG_INVALID', what, { cause }))
      }
    }
    server.once('error', failed)
    server.listen({ host, port, reusePort }, () => {
      server.off('error', failed)
      resolve()
    })
  })
}

function addressOf(server: Server, host: string, encrypted: boolean): BoundAddress {
  const { port } = server.address() as AddressInfo
  const shown = host.includes(':') ? `[${host}]` : host
  return Object.freeze({ host, port, url: `${encrypted ? 'wss' : 'ws'}://${shown}:${port}` })
}

/** Whoever comes without asking for WebSocket learns what is here. */
function answerPlainRequest(_request: IncomingMessage, response: ServerResponse): void {
  const what = `this port speaks WebSocket, with the subprotocol ${binarySubprotocol} or ${jsonSubprotocol}`
  const body = JSON.stringify(errorToJson(new RatatoskrError('RTK_NOT_SUPPORTED', what)))
  response
    .writeHead(426, { upgrade: 'websocket', 'content-type': 'application/json', connection: 'close' })
    .end(body)
}
