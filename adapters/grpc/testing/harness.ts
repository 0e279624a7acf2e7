/** A real broker in memory behind a gRPC transport on a free port, and bare gRPC calls to it. */
import { Client, credentials, Metadata, type MethodDefinition, type ServiceError } from '@grpc/grpc-js'
import type { BrokerOptions, EmbeddedBroker } from 'ratatoskr'
import { type GrpcTransportOptions, grpcTransport } from 'ratatoskr/adapters/grpc'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { BatchBuilder, type BoundAddress, type Logger, type Transport, utf8 } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
export const platform = nodePlatform({ logger: silent })

export interface HarnessOptions {
  readonly broker?: Partial<BrokerOptions>
  readonly transport?: GrpcTransportOptions
}

export class Harness {
  readonly broker: EmbeddedBroker
  readonly transport: Transport
  readonly #clients: Client[] = []

  private constructor(broker: EmbeddedBroker, transport: Transport) {
    this.broker = broker
    this.transport = transport
  }

  static async start(options: HarnessOptions = {}): Promise<Harness> {
    const transport = grpcTransport({ port: 0, ...options.transport })
    const broker = await startTestBroker({ transports: [transport], ...options.broker })
    return new Harness(broker, transport)
  }

  get address(): BoundAddress {
    if (this.transport.address === undefined) throw new Error('the transport is not started')
    return this.transport.address
  }

  get target(): string {
    return `${this.address.host}:${this.address.port}`
  }

  /** A client on a connection of its own. */
  client(options: Record<string, string | number> = {}): Client {
    const client = new Client(this.target, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      ...options,
    })
    this.#clients.push(client)
    return client
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close()
    await this.broker.stop()
  }
}

/** One unary call. */
export function call<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
  headers: Record<string, string> = {},
): Promise<Response> {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      (error: ServiceError | null, response?: Response) => {
        if (error !== null) reject(error)
        else resolve(response as Response)
      },
    )
  })
}

/** A bidirectional stream with bytes as they are. */
export const rawStream = (client: Client, path: string) =>
  client.makeBidiStreamRequest<Buffer, Buffer>(
    path,
    (bytes) => bytes,
    (bytes) => bytes,
  )

/** A record batch of texts. */
export function batchOf(...payloads: (string | Uint8Array)[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: platform.checksum })
  for (const payload of payloads) {
    builder.add({ payload: typeof payload === 'string' ? utf8(payload) : payload, timestampMs: 1_000 })
  }
  return builder.build()
}

/** Collects what a stream gives, and waits for it. */
export class Received<Item> {
  readonly items: Item[] = []
  #waiting: (() => void)[] = []
  #failure: Error | undefined

  add(item: Item): void {
    this.items.push(item)
    this.#wake()
  }

  fail(error: Error): void {
    this.#failure = error
    this.#wake()
  }

  async atLeast(count: number): Promise<readonly Item[]> {
    while (this.items.length < count) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    return this.items
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
