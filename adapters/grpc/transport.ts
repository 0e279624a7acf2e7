/** The gRPC transport: `ratatoskr.v1`, the legacy service, health and reflection on one port. */
import { createServer, type Server as Listener } from 'node:net'
import { type Server, ServerCredentials } from '@grpc/grpc-js'
import {
  assertBindAllowed,
  type BoundAddress,
  type BrokerFacade,
  RatatoskrError,
  type Transport,
  type TransportSupervision,
  type TransportSupports,
} from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { type CallHost, type OpenStream, tolerant } from './calls.ts'
import { ConnectionBounds } from './connection-bounds.ts'
import { Connections } from './connections.ts'
import { consume } from './consume.ts'
import { consumeLeases } from './consume-leases.ts'
import { DataStream, type DuplexCall, isPlain, refuse } from './data-stream.ts'
import { deadLetterService } from './dead-letter-service.ts'
import { healthService } from './health.ts'
import { healthDefinition } from './health-definition.ts'
import { makeInjector, makeServer, requestBytesMax, type TakeStream } from './http2-server.ts'
import { legacyService } from './legacy.ts'
import { produce } from './produce.ts'
import { queueService } from './queue-service.ts'
import { addReflection, reflectionPaths } from './reflection.ts'
import { brokerService, groupService, messageService, topicService } from './services.ts'
import { statusOf } from './status.ts'

/** Where the gRPC transport listens, and how. */
export interface GrpcTransportOptions {
  /** Address to listen on. Beyond loopback only with an authenticator, or `insecure: true`. */
  readonly host?: string
  /** 50051 by default; 0 for any free port. */
  readonly port?: number
  /** Lets other event loops of this process listen on the same port; the system spreads connections over them. */
  readonly reusePort?: boolean
  /** Listens beyond loopback without authentication. */
  readonly insecure?: boolean
  /** Listens with TLS; PEM texts. With `ca`, clients must show a certificate that it signed. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca?: string }
  /** A connection that is silent for this long is asked for a sign of life: 20 s by default. */
  readonly keepaliveIntervalMs?: number
  /** A connection that gives none for this long is cut: 10 s by default. */
  readonly keepaliveTimeoutMs?: number
  /** Calls of one connection that wait for messages, or whose answers the client has not taken. Default 64. */
  readonly fetchesInFlightMax?: number
  /** Answers `grpc.reflection.v1`, which shows the .proto files to tools: true by default. */
  readonly reflection?: boolean
}

const supports: TransportSupports = Object.freeze({
  batches: true,
  push: true,
  credit: true,
  groups: true,
  administration: true,
  binary: true,
})

/** What lives between start and stop. */
interface Running {
  readonly broker: BrokerFacade
  readonly address: BoundAddress
  readonly listener: Listener
  readonly server: Server
  readonly connections: Connections
  readonly streams: Set<OpenStream>
}

/** Makes the gRPC transport. */
export function grpcTransport(options: GrpcTransportOptions = {}): Transport {
  return new GrpcTransport(options)
}

class GrpcTransport implements Transport {
  readonly name = 'grpc'
  readonly supports = supports
  readonly #options: GrpcTransportOptions
  #running: Running | undefined

  constructor(options: GrpcTransportOptions) {
    this.#options = options
  }

  get address(): BoundAddress | undefined {
    return this.#running?.address
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    if (this.#running !== undefined) return this.#running.address
    const { host = '127.0.0.1', port = 50_051, reusePort = false, insecure = false, tls } = this.#options
    const { keepaliveIntervalMs = 20_000, keepaliveTimeoutMs = 10_000 } = this.#options
    assertBindAllowed(host, { insecure, authenticator: broker.authenticator })
    const server = makeServer(broker.limits, {
      intervalMs: keepaliveIntervalMs,
      timeoutMs: keepaliveTimeoutMs,
    })
    const connections = new Connections(broker, tls !== undefined)
    const streams = new Set<OpenStream>()
    const take = this.#addServices(server, broker, { connections, streams, logger: broker.platform.logger })
    const injector = makeInjector(server, credentialsOf(tls), take)
    const listener = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => undefined) // 'close' follows and is what counts
      connections.add(socket)
      injector.injectConnection(socket)
    })
    const address = await listen(listener, { host, port, reusePort }, tls === undefined ? 'grpc' : 'grpcs')
    listener.on('error', (error) => {
      supervision.failed(
        new RatatoskrError('RTK_UNAVAILABLE', 'the gRPC listener failed and is being reopened', {
          cause: error,
        }),
      )
    })
    this.#running = { broker, address, listener, server, connections, streams }
    return address
  }

  async stop(deadlineMs: number): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    const { broker, listener, server, connections, streams } = running
    const closed = new Promise<void>((resolve) => listener.close(() => resolve()))
    for (const stream of [...streams]) stream.drain()
    const deadline = Promise.withResolvers<void>()
    const timer = broker.platform.clock.after(deadlineMs, () => deadline.resolve())
    // Its callback comes too early: http2 servers close their sessions themselves since Node 24, and grpc-js takes a
    // session that is closing for closed. The sockets tell the truth.
    server.tryShutdown(() => undefined)
    await Promise.race([connections.closed(), deadline.promise])
    timer[Symbol.dispose]()
    connections.destroy()
    server.forceShutdown()
    await Promise.all([closed, connections.closed()])
    await connections.settled()
  }

  /** @returns what serves the streams of the data plane */
  #addServices(server: Server, broker: BrokerFacade, host: CallHost): TakeStream {
    const messages = { ...messageService(host, broker), produce: produce(host), consume: consume(host) }
    const messageMethods = tolerant(messagePlane(proto.MessageServiceService))
    server.addService(tolerant(proto.TopicServiceService), topicService(host))
    server.addService(messageMethods, messages)
    server.addService(tolerant(proto.GroupServiceService), groupService(host, broker))
    const queues = { ...queueService(host, broker), consume: consumeLeases(host, broker) }
    const queueMethods = tolerant(leasePlane(proto.QueueServiceService))
    server.addService(queueMethods, queues)
    server.addService(tolerant(proto.DeadLetterServiceService), deadLetterService(host))
    server.addService(tolerant(proto.BrokerServiceService), brokerService(host, broker))
    server.addService(tolerant(proto.legacy.MessageBrokerService), legacyService(host, broker))
    server.addService(healthDefinition, healthService(host, broker, serviceNames))
    if (this.#options.reflection ?? true) addReflection(server, host)
    const bounds = new ConnectionBounds(this.#options.fetchesInFlightMax ?? 64, fetches)
    return chooser(bounds, requestBytesMax(broker.limits), [
      { method: messageMethods.produce, serve: messages.produce },
      { method: messageMethods.consume, serve: messages.consume },
      { method: queueMethods.consume, serve: queues.consume },
    ])
  }
}

const serviceNames = [
  'ratatoskr.v1.TopicService',
  'ratatoskr.v1.MessageService',
  'ratatoskr.v1.GroupService',
  'ratatoskr.v1.QueueService',
  'ratatoskr.v1.DeadLetterService',
  'ratatoskr.v1.BrokerService',
  'ratatoskr.MessageBroker',
]

/** `QueueService` with the codecs of the data plane. */
const leasePlane = (service: typeof proto.QueueServiceService) => ({
  ...service,
  consume: { ...service.consume, responseSerialize: proto.messageOf },
})

/** `MessageService` with the codecs of the data plane: streams write frames. */
const messagePlane = (service: typeof proto.MessageServiceService) => ({
  ...service,
  produce: {
    ...service.produce,
    requestDeserialize: proto.decodeProduceRequest,
    responseSerialize: proto.messageOf,
  },
  consume: { ...service.consume, responseSerialize: proto.messageOf },
})

/** A stream of the data plane, and its handler. */
interface DataMethod {
  readonly method: { readonly path: string; readonly requestDeserialize: (bytes: Buffer) => unknown }
  // biome-ignore lint/suspicious/noExplicitAny: each handler takes the requests that its method decodes
  readonly serve: (call: DuplexCall<any>) => void
}

/** Calls that may wait for messages, and others whose answers may be large. */
const fetches: readonly string[] = [
  proto.MessageServiceService.fetch.path,
  proto.MessageServiceService.listScheduled.path,
  proto.GroupServiceService.fetchGroup.path,
  proto.QueueServiceService.take.path,
  proto.DeadLetterServiceService.listDeadLetters.path,
  proto.DeadLetterServiceService.redriveDeadLetters.path,
  proto.DeadLetterServiceService.purgeDeadLetters.path,
  ...reflectionPaths,
]

/** Serves the streams of the data plane, refuses calls above the bounds of their connection, and leaves the others to grpc-js. */
function chooser(bounds: ConnectionBounds, bytesMax: number, methods: readonly DataMethod[]): TakeStream {
  const byPath = new Map(methods.map((data) => [data.method.path, data]))
  return (stream, headers) => {
    if (headers[':method'] !== 'POST') {
      stream.respond({ ':status': 405, allow: 'POST' }, { endStream: true })
      stream.resume()
      return true
    }
    const path = headers[':path'] ?? ''
    const data = byPath.get(path)
    if (data === undefined) {
      const refusal = bounds.enter(stream, path)
      if (refusal !== undefined) refuse(stream, statusOf(refusal))
      return refusal !== undefined
    }
    if (!isPlain(headers)) return false
    const { requestDeserialize } = data.method
    const decode = (bytes: Uint8Array): unknown => requestDeserialize(bytes as Buffer)
    data.serve(new DataStream(stream, headers, decode, bytesMax, bounds.of(stream)))
    return true
  }
}

function credentialsOf(tls: GrpcTransportOptions['tls']): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure()
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca)
  return ServerCredentials.createSsl(ca, [pair], ca !== null)
}

/** @throws RTK_ADDRESS_IN_USE, RTK_CONFIG_INVALID when the address cannot be bound */
function listen(
  listener: Listener,
  { host, port, reusePort }: { readonly host: string; readonly port: number; readonly reusePort: boolean },
  scheme: string,
): Promise<BoundAddress> {
  return new Promise((resolve, reject) => {
    listener.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, host, port)))
    listener.listen({ host, port, reusePort }, () => {
      listener.removeAllListeners('error')
      const bound = listener.address() as { port: number }
      const name = host.includes(':') ? `[${host}]` : host
      resolve({ host, port: bound.port, url: `${scheme}://${name}:${bound.port}` })
    })
  })
}

function bindError(error: NodeJS.ErrnoException, host: string, port: number): RatatoskrError {
  if (error.code === 'EADDRINUSE') {
    return new RatatoskrError(
      'RTK_ADDRESS_IN_USE',
      `gRPC cannot listen on ${host}:${port}: the port is taken; choose another, or 0 for any free one`,
      { cause: error },
    )
  }
  return new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `gRPC cannot listen on ${host}:${port} (${error.code}); give an address of this machine and a port from 0 to 65535`,
    { cause: error },
  )
}
