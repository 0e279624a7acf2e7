/** A transport without a network: tests hold its facade and its supervision. */
import type {
  BoundAddress,
  BrokerFacade,
  RatatoskrError,
  Transport,
  TransportSupervision,
} from '../../ports/index.ts'

export class TransportDouble implements Transport {
  readonly name: string
  readonly supports = {
    batches: true,
    push: true,
    credit: true,
    groups: true,
    administration: true,
    binary: true,
  }
  address: BoundAddress | undefined
  starts = 0
  readonly stops: number[] = []
  facade: BrokerFacade | undefined
  onStart: () => void | Promise<void> = () => {}
  onStop: () => void | Promise<void> = () => {}
  #supervision: TransportSupervision | undefined

  constructor(name = 'double') {
    this.name = name
  }

  async start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress> {
    await this.onStart()
    this.starts++
    this.facade = broker
    this.#supervision = supervision
    this.address = { host: '127.0.0.1', port: 1, url: `${this.name}://127.0.0.1:1` }
    return this.address
  }

  async stop(deadlineMs: number): Promise<void> {
    this.stops.push(deadlineMs)
    this.address = undefined
    await this.onStop()
  }

  /** What a server does whose socket broke. */
  breakDown(error: RatatoskrError): void {
    this.#supervision?.failed(error)
  }

  /** The supervision that the present binding was given. */
  get supervision(): TransportSupervision | undefined {
    return this.#supervision
  }
}
