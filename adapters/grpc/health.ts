/**
 * `grpc.health.v1.Health`, answered from the broker's own health. Written here rather than with the package's
 * implementation, which keeps statuses of its own and whose watchers would hold a stop until its deadline.
 */
import type { ServerWritableStream, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js'
import { status } from '@grpc/grpc-js'
import type { BrokerFacade } from 'ratatoskr/ports'
import type { CallHost, OpenStream } from './calls.ts'
import type { HealthCheckRequest, HealthCheckResponse, HealthListResponse } from './health-definition.ts'

type Serving = HealthCheckResponse['status']

/** How soon a watcher learns of a change. */
const watchIntervalMs = 1_000

/** @param services the full names that may be asked for; the empty one means the whole server */
export function healthService(
  host: CallHost,
  broker: BrokerFacade,
  services: readonly string[],
): UntypedServiceImplementation {
  const names = ['', ...services]
  const serving = (): Serving => (broker.health().ready ? 'SERVING' : 'NOT_SERVING')
  return {
    check(call: { request: HealthCheckRequest }, callback: sendUnaryData<HealthCheckResponse>) {
      if (names.includes(call.request.service)) callback(null, { status: serving() })
      else callback({ code: status.NOT_FOUND, details: 'no such service; ask with an empty name for all' })
    },
    list(_call: unknown, callback: sendUnaryData<HealthListResponse>) {
      callback(null, { statuses: Object.fromEntries(names.map((name) => [name, { status: serving() }])) })
    },
    watch(call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>) {
      const known = names.includes(call.request.service)
      new HealthWatch(host, broker, call, () => (known ? serving() : 'SERVICE_UNKNOWN'))
    },
  }
}

class HealthWatch implements OpenStream {
  readonly #call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>
  readonly #broker: BrokerFacade
  readonly #read: () => Serving
  #last: Serving | undefined
  #timer: Disposable | undefined

  constructor(
    host: CallHost,
    broker: BrokerFacade,
    call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>,
    read: () => Serving,
  ) {
    this.#broker = broker
    this.#call = call
    this.#read = read
    host.streams.add(this)
    call.once('cancelled', () => {
      host.streams.delete(this)
      this.#timer?.[Symbol.dispose]()
    })
    this.#look()
  }

  drain(): void {
    this.#timer?.[Symbol.dispose]()
    this.#tell('NOT_SERVING')
    this.#call.end()
  }

  #look(): void {
    this.#tell(this.#read())
    this.#timer = this.#broker.platform.clock.after(watchIntervalMs, () => this.#look())
  }

  #tell(serving: Serving): void {
    if (serving === this.#last) return
    this.#last = serving
    this.#call.write({ status: serving })
  }
}
