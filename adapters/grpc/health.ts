/**
 * `grpc.health.v1.Health`, answered from the broker's own health. Written here rather than with the package's
 * implementation, which keeps statuses of its own and whose watchers would hold a stop until its deadline.
 */
import type { BrokerFacade } from 'ratatoskr/ports'
import { frameOf, status } from 'ratatoskr/proto'
import { type CallHost, failure, type OpenStream } from './calls.ts'
import type { DuplexCall } from './data-stream.ts'
import { type HealthCheckRequest, type HealthCheckResponse, healthDefinition } from './health-definition.ts'
import type { Routes } from './routes.ts'
import { type Incoming, Malformed } from './status.ts'

type Serving = HealthCheckResponse['status']

/** How soon a watcher learns of a change. */
const watchIntervalMs = 1_000

const noSuchService = {
  code: status.NOT_FOUND,
  details: 'no such service; ask with an empty name for all',
}

/** @param services the full names that may be asked for; the empty one means the whole server */
export function addHealth(
  routes: Routes,
  host: CallHost,
  broker: BrokerFacade,
  services: readonly string[],
): void {
  const names = ['', ...services]
  const serving = (): Serving => (broker.health().ready ? 'SERVING' : 'NOT_SERVING')
  routes.add(healthDefinition, {
    check: (call) => {
      try {
        if (names.includes(call.request.service)) call.succeed({ status: serving() })
        else call.end(noSuchService)
      } catch (error) {
        call.fail(error)
      }
    },
    list: (call) =>
      call.succeed({ statuses: Object.fromEntries(names.map((name) => [name, { status: serving() }])) }),
  })
  routes.addSubscription(healthDefinition.watch, (call, request) => {
    if (request instanceof Malformed) {
      call.fail(failure(host, request.error))
      return
    }
    const known = names.includes(request.service)
    new HealthWatch(host, broker, call, () => (known ? serving() : 'SERVICE_UNKNOWN'))
  })
}

type WatchCall = DuplexCall<Incoming<HealthCheckRequest>>

class HealthWatch implements OpenStream {
  readonly #call: WatchCall
  readonly #broker: BrokerFacade
  readonly #read: () => Serving
  #last: Serving | undefined
  #timer: Disposable | undefined

  constructor(host: CallHost, broker: BrokerFacade, call: WatchCall, read: () => Serving) {
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
    this.#call.write(frameOf(healthDefinition.watch.responseSerialize({ status: serving })))
  }
}
