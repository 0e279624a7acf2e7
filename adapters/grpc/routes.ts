/** Which method a stream is for, and whether it may be served: the rest of the transport begins behind this. */
import { status } from 'ratatoskr/proto'
import { type CallEnd, type CallTerms, isGrpc, termsOf, trailersOf } from './call-headers.ts'
import type { CallStream } from './call-stream.ts'
import { type CallHost, failure } from './calls.ts'
import type { CountedCall } from './connection-bounds.ts'
import type { Caller } from './connections.ts'
import { DataStream, type DuplexCall, type StreamMethod } from './data-stream.ts'
import { type Incoming, Malformed } from './status.ts'
import { UnaryCall, type UnaryHandler, type UnaryMethod } from './unary-call.ts'

/** What generated code says of a method, as far as a server needs it. */
// biome-ignore lint/suspicious/noExplicitAny: each method has types of its own
export interface Definition<Request = any, Response = any> {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestDeserialize: (bytes: Buffer) => Request
  readonly responseSerialize: (response: Response) => Uint8Array
}

type RequestOf<Of> = Of extends Definition<infer Request> ? Request : never
type ResponseOf<Of> = Of extends { responseSerialize: (response: infer Response) => unknown }
  ? Response
  : never

/** The handlers of the unary methods of a service. */
export type Handlers<Service, Except extends string = never> = {
  readonly [Method in Exclude<keyof Service, Except>]: UnaryHandler<
    RequestOf<Service[Method]>,
    ResponseOf<Service[Method]>
  >
}

// biome-ignore lint/suspicious/noExplicitAny: each handler takes the requests that its method decodes
type AnyUnary = UnaryMethod<any, any>
// biome-ignore lint/suspicious/noExplicitAny: as above
type AnyStream = StreamMethod<any>

export interface RouteOptions {
  /** Largest request to accept. */
  readonly bytesMax: number
  /** Calls of one connection that may wait for messages and whose answers may be large. */
  readonly fetchesInFlightMax: number
  /** The paths of such calls. */
  readonly fetches: readonly string[]
  /** The paths of calls that strangers may make: all others are refused before their requests are taken. */
  readonly forAnyone: readonly string[]
}

/** What admits a call of a method. */
export interface Admission {
  readonly inFlightMax: number | undefined
  readonly isForAnyone: boolean
}

/** The methods of the server by their paths. */
export class Routes {
  readonly #host: CallHost
  readonly #options: RouteOptions
  readonly #unary = new Map<string, AnyUnary>()
  readonly #streams = new Map<string, AnyStream>()

  constructor(host: CallHost, options: RouteOptions) {
    this.#host = host
    this.#options = options
  }

  /** Adds the unary methods of a service for which there are handlers. */
  add<Service extends Readonly<Record<string, Definition>>>(
    service: Service,
    // biome-ignore lint/suspicious/noExplicitAny: as above
    handlers: { readonly [Method in keyof Service]?: UnaryHandler<any, any> },
  ): void {
    for (const [name, definition] of Object.entries(service)) {
      const serve = handlers[name]
      if (serve === undefined) continue
      this.#unary.set(definition.path, {
        ...this.#bounds(definition.path),
        decode: tolerant(definition),
        encode: definition.responseSerialize,
        serve,
      })
    }
  }

  /** Adds a method with a stream of requests. */
  addStream<Request>(
    definition: Definition<Request>,
    serve: (call: DuplexCall<Incoming<Request>>) => void,
  ): void {
    this.#streams.set(definition.path, {
      ...this.#bounds(definition.path),
      decode: tolerant(definition),
      serve,
    })
  }

  /** Adds a method with one request and a stream of responses. */
  addSubscription<Request>(
    definition: Definition<Request>,
    serve: (call: DuplexCall<Incoming<Request>>, request: Incoming<Request>) => void,
  ): void {
    this.addStream(definition, (call) => serveOne(call, serve))
  }

  /** Serves a stream, or tells its client why it is not. */
  serve(stream: CallStream): void {
    const { headers } = stream
    if (headers[':method'] !== 'POST') stream.reject({ ':status': 405, allow: 'POST' })
    else if (!isGrpc(headers)) stream.reject({ ':status': 415, accept: 'application/grpc' })
    else {
      const terms = termsOf(headers)
      const end = 'code' in terms ? terms : this.#call(stream, terms)
      if (end !== undefined) stream.end(trailersOf(end))
    }
  }

  /** @returns what the call ends with that nobody serves */
  #call(stream: CallStream, terms: CallTerms): CallEnd | undefined {
    const path = stream.headers[':path'] ?? ''
    const unary = this.#unary.get(path)
    if (unary !== undefined) {
      const call = new UnaryCall(this.#host, stream, unary, terms)
      this.#admit(call, unary, (error) => call.fail(error))
      return undefined
    }
    const method = this.#streams.get(path)
    if (method === undefined) return noSuchMethod
    const call = new DataStream(this.#host, stream, method, terms)
    const isAdmitted = this.#admit(call, method, (error) => call.fail(failure(this.#host, error)))
    if (isAdmitted) method.serve(call)
    return undefined
  }

  /**
   * Counts a call and asks who makes it, before any of its request is taken.
   * @param failed told why it is not served: now, or when the broker does not let the caller in
   * @returns whether the call goes on for now
   */
  #admit(call: CountedCall & Caller, method: Admission, failed: (error: unknown) => void): boolean {
    const refusal = call.connection?.use.enter(call, method.inFlightMax)
    if (refusal !== undefined) {
      failed(refusal)
      return false
    }
    if (method.isForAnyone) return true
    try {
      const session = this.#host.connections.session(call)
      if (session instanceof Promise) session.catch(failed)
      return true
    } catch (error) {
      failed(error)
      return false
    }
  }

  #bounds(path: string): Admission & { readonly bytesMax: number } {
    const { bytesMax, fetchesInFlightMax, fetches, forAnyone } = this.#options
    const inFlightMax = fetches.includes(path) ? fetchesInFlightMax : undefined
    return { bytesMax, inFlightMax, isForAnyone: forAnyone.includes(path) }
  }
}

const noSuchMethod: CallEnd = {
  code: status.UNIMPLEMENTED,
  details: 'there is no such method; see the .proto files',
}

/** A decoder that does not throw: see `Malformed`. */
const tolerant =
  <Request>({ path, requestDeserialize }: Definition<Request>) =>
  (bytes: Uint8Array): Incoming<Request> => {
    try {
      return requestDeserialize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    } catch {
      return new Malformed(path, bytes)
    }
  }

/** Serves a call when its one request is there. */
function serveOne<Request>(
  call: DuplexCall<Request>,
  serve: (call: DuplexCall<Request>, request: Request) => void,
): void {
  const requests: Request[] = []
  call.on('data', (request) => {
    requests.push(request)
    if (requests.length > 1)
      call.fail({ code: status.INTERNAL, details: 'the call has more than one request' })
  })
  call.once('end', () => {
    const [request] = requests
    if (request === undefined) call.fail({ code: status.INTERNAL, details: 'the call has no request' })
    else serve(call, request)
  })
  call.resume()
}
