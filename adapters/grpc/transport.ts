/** The gRPC transport: `ratatoskr.v1`, the legacy service, health and reflection on one port. */
import { createServer, type Server as Listener } from 'node:net'
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
import type { CallHost, OpenStream } from './calls.ts'
import { Connections } from './connections.ts'
import { consume } from './consume.ts'
import { consumeLeases } from './consume-leases.ts'
import { deadLetterService } from './dead-letter-service.ts'
import { addHealth } from './health.ts'
import { healthDefinition } from './health-definition.ts'
import { Http2Connections, requestBytesMax } from './http2-server.ts'
import { addLegacy } from './legacy.ts'
import { produce } from './produce.ts'
import { queueService } from './queue-service.ts'
import { addReflection, reflectionPaths } from './reflection.ts'
import { Routes } from './routes.ts'
import { brokerService, groupService, messageService, topicService } from './services.ts'

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
  readonly http2: Http2Connections
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
    const connections = new Connections(broker, tls !== undefined)
    const streams = new Set<OpenStream>()
    const { logger, clock } = broker.platform
    const routes = this.#routes(broker, { connections, streams, logger, clock })
    const http2 = new Http2Connections(
      { limits: broker.limits, tls, keepaliveIntervalMs, keepaliveTimeoutMs },
      connections,
      (stream) => routes.serve(stream),
    )
    const listener = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => undefined) // 'close' follows and is what counts
      connections.add(socket)
      http2.add(socket)
    })
    const scheme = tls === undefined ? 'grpc' : 'grpcs'
    const address = await listen(listener, { host, port, reusePort }, scheme).catch((error: unknown) => {
      http2.destroy()
      throw error
    })
    listener.on('error', (error) => {
      supervision.failed(
        new RatatoskrError('RTK_UNAVAILABLE', 'the gRPC listener failed and is being reopened', {
          cause: error,
        }),
      )
    })
    this.#running = { broker, address, listener, http2, connections, streams }
    return address
  }

  async stop(deadlineMs: number): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    const { broker, listener, http2, connections, streams } = running
    const closed = new Promise<void>((resolve) => listener.close(() => resolve()))
    for (const stream of [...streams]) stream.drain()
    const deadline = Promise.withResolvers<void>()
    const timer = broker.platform.clock.after(deadlineMs, () => deadline.resolve())
    http2.close()
    await Promise.race([connections.closed(), deadline.promise])
    timer[Symbol.dispose]()
    connections.destroy()
    http2.destroy()
    await Promise.all([closed, connections.closed()])
    await connections.settled()
  }

  #routes(broker: BrokerFacade, host: CallHost): Routes {
    const routes = new Routes(host, {
      bytesMax: requestBytesMax(broker.limits),
      fetchesInFlightMax: this.#options.fetchesInFlightMax ?? 64,
      fetches,
      forAnyone,
    })
    routes.add(proto.TopicServiceService, topicService(host))
    routes.add(proto.MessageServiceService, messageService(host, broker))
    const { produce: produceMethod, consume: consumeMethod } = proto.MessageServiceService
    // Their batches are views on the request, not copies.
    routes.addStream({ ...produceMethod, requestDeserialize: proto.decodeProduceRequest }, produce(host))
    routes.addStream(consumeMethod, consume(host))
    routes.add(proto.GroupServiceService, groupService(host, broker))
    routes.add(proto.QueueServiceService, queueService(host, broker))
    routes.addStream(proto.QueueServiceService.consume, consumeLeases(host, broker))
    routes.add(proto.DeadLetterServiceService, deadLetterService(host))
    routes.add(proto.BrokerServiceService, brokerService(host, broker))
    addLegacy(routes, host, broker)
    addHealth(routes, host, broker, serviceNames)
    if (this.#options.reflection ?? true) addReflection(routes, host)
    return routes
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

/** What tools ask before anybody has given them credentials. */
const forAnyone: readonly string[] = [
  ...Object.values(healthDefinition).map(({ path }) => path),
  ...reflectionPaths,
]

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
