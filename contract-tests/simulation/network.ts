/**
 * A network in memory between clients and a broker: messages take their time on a manual clock, connections are lost with what
 * is on them, answers get lost, calls arrive twice. Everything follows from the seed, so that a run can be repeated.
 *
 * What it keeps to is what every protocol promises: within a stream (the publishes of a link, or one subscription) nothing
 * overtakes anything, and what is lost is noticed in the end, because the call or the whole link fails with RTK_DISCONNECTED.
 */
import type { Link, OpenLink } from 'ratatoskr/client'
import { type BrokerFacade, type Clock, RatatoskrError } from 'ratatoskr/ports'
import { seededRandom } from '../test-platform.ts'
import { type LinkHost, SimulatedLink } from './network-link.ts'

/** How likely a message of the network meets what; all 0 at first. */
export interface NetworkFaults {
  /** A call never arrives: its caller learns that in the end. */
  readonly loseCall: number
  /** A call is carried out and its answer never arrives. */
  readonly loseAnswer: number
  /** A call that may be made twice arrives once more, later. */
  readonly repeat: number
  /** The whole link is lost, with what is on it. */
  readonly disconnect: number
  /** A message takes up to `slowMs`. */
  readonly slow: number
}

const noFaults: NetworkFaults = { loseCall: 0, loseAnswer: 0, repeat: 0, disconnect: 0, slow: 0 }

/** How a simulated network behaves. */
export interface SimulatedNetworkOptions {
  /** Time of the network itself; clients and broker go by the clocks of their own platforms. */
  readonly clock: Clock
  /** All that it draws follows from this; 1 by default. */
  readonly seed?: number | undefined
  /** Shortest and longest time of a message in milliseconds; 1 to 20 by default. */
  readonly delayMs?: readonly [number, number] | undefined
  /** Longest time of a slow message; 1,000 by default. */
  readonly slowMs?: number | undefined
  /** How long it may take until somebody notices a loss, in milliseconds; 1,000 by default. */
  readonly noticeMs?: number | undefined
  /** Told of what happens, for logs and hashes of runs. */
  readonly onEvent?: ((text: string) => void) | undefined
}

/** Makes a network without a broker. */
export const simulatedNetwork = (options: SimulatedNetworkOptions): SimulatedNetwork =>
  new SimulatedNetwork(options)

/** See `simulatedNetwork`. */
export class SimulatedNetwork {
  readonly #options: SimulatedNetworkOptions
  readonly #next: () => number
  readonly #ends = new Set<NetworkEnd>()
  #faults = noFaults
  #broker: { readonly facade: BrokerFacade; up: boolean } | undefined

  constructor(options: SimulatedNetworkOptions) {
    this.#options = options
    this.#next = seededRandom(options.seed).next
  }

  /** From now on messages meet these faults; those that are not named no more. */
  set faults(faults: Partial<NetworkFaults>) {
    this.#faults = { ...noFaults, ...faults }
  }

  /** The broker that answers from now on. */
  attach(facade: BrokerFacade): void {
    this.#broker = { facade, up: true }
  }

  /** The broker is gone: what it has sent still arrives, and its links are lost. */
  detach(): void {
    if (this.#broker === undefined) return
    this.#broker.up = false
    this.#broker = undefined
    for (const end of this.#ends) end.disconnect()
  }

  /** A place for one client to connect from: `connect('sim://broker', { openLink: end.openLink, platform })`. */
  end(name: string): NetworkEnd {
    const end = new NetworkEnd(name, this.#host(name), () => this.#broker)
    this.#ends.add(end)
    return end
  }

  #host(name: string): LinkHost {
    const { clock, slowMs = 1_000, noticeMs = 1_000, onEvent, delayMs = [1, 20] } = this.#options
    let streams = 0
    const between = (from: number, to: number): number => from + Math.floor(this.#next() * (to - from + 1))
    return {
      clock,
      chance: (fault) => this.#faults[fault] > 0 && this.#next() < this.#faults[fault],
      delayMs: () => {
        if (this.#faults.slow === 0 || this.#next() >= this.#faults.slow) return between(...delayMs)
        onEvent?.(`${name} slow`)
        return between(delayMs[0], slowMs)
      },
      noticeMs: () => between(1, noticeMs),
      event: (text) => onEvent?.(`${name} ${text}`),
      nextStream: () => ++streams,
    }
  }
}

/** Where a client is connected to the network. */
export class NetworkEnd {
  /** Opens links to the broker that is attached then; see `ConnectOptions.openLink`. */
  readonly openLink: OpenLink
  readonly #links = new Set<SimulatedLink>()
  readonly #host: LinkHost
  #isolated = false
  #gone = false

  constructor(name: string, host: LinkHost, broker: () => { facade: BrokerFacade; up: boolean } | undefined) {
    this.#host = host
    this.openLink = async (_url, { credentials, platform, signal }): Promise<Link> => {
      const found = broker()
      if (found === undefined || this.#isolated || host.chance('loseCall')) {
        await pause(host, host.noticeMs())
        throw new RatatoskrError('RTK_DISCONNECTED', 'nobody answers')
      }
      await pause(host, host.delayMs())
      if (!found.up || this.#isolated || signal?.aborted === true)
        throw new RatatoskrError('RTK_DISCONNECTED', 'nobody answers')
      const peer = { transport: 'simulated', address: name, local: true, encrypted: false }
      const session = await found.facade.connect(peer, credentials)
      await pause(host, host.delayMs())
      const link = new SimulatedLink(session, {
        host,
        client: platform.clock,
        server: found.facade.platform.clock,
        serverIsUp: () => found.up,
        ended: () => this.#links.delete(link),
      })
      if (this.#gone) {
        link.vanish()
        return new Promise(() => {}) // nobody is there to hear of it
      }
      if (!found.up || this.#isolated) {
        link.vanish()
        throw new RatatoskrError('RTK_DISCONNECTED', 'the connection was lost')
      }
      host.event('connected')
      this.#links.add(link)
      return link
    }
  }

  /** Its links are lost; both sides notice in their time. New ones can be opened. */
  disconnect(): void {
    for (const link of [...this.#links]) link.lose()
  }

  /** Nothing gets through from now on, and both sides notice in their time. */
  isolate(): void {
    this.#host.event('isolated')
    this.#isolated = true
    this.disconnect()
  }

  /** New links get through again. */
  rejoin(): void {
    this.#isolated = false
  }

  /** The client's process is gone: nobody says goodbye, and the broker notices in its time. */
  vanish(): void {
    this.#host.event('vanished')
    this.#gone = true
    for (const link of [...this.#links]) link.vanish()
  }
}

const pause = ({ clock }: LinkHost, ms: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(ms, resolve)
  })
