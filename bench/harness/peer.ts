/**
 * What a peer is: another broker, started by the suite as its documentation says, and driven by its own best client for
 * Node. The bench's own processes send and check the same messages through it as through us.
 */
import type { Measured } from './process.ts'

/** `stream`: everything, in order, as cheaply as the peer knows how. `acked`: each message is acknowledged by itself. */
export type Delivery = 'stream' | 'acked'

export interface PeerProducer {
  /** Publishes one message. The bytes belong to the producer from now on. */
  publish(payload: Uint8Array): void
  /** Waits until the client has room for more; undefined while it has. */
  ready(): Promise<unknown> | undefined
  /** Resolves when everything published is acknowledged, or, where nothing is, has reached the server. */
  flush(): Promise<unknown>
}

export type Take = (payload: Uint8Array) => void

/** The part that runs in the processes that send and receive. */
export interface PeerClient {
  /** Makes the topics. Called once, before any producer or consumer. */
  prepare(address: string, topics: readonly string[]): Promise<void>
  producer(address: string, topic: string): Promise<PeerProducer>
  /** Resolves when messages published from now on will come. @param take is called with each, in order */
  consumer(address: string, topic: string, delivery: Delivery, take: Take): Promise<void>
}

export interface PeerServer extends Measured, AsyncDisposable {
  readonly address: string
}

export interface Peer extends PeerClient {
  /**
   * Lets go of the topics and all that is in them. Where it is there, starting takes long: then one server serves all runs of a
   * scenario, with topics made afresh for each; others start afresh for each run.
   */
  readonly clear?: (address: string, topics: readonly string[]) => Promise<void>
  /** How many messages the acknowledging consumers have not taken, or not acknowledged; where there are such consumers. */
  readonly unsettled?: (address: string, topic: string) => Promise<number>
  readonly name: string
  /** What its acknowledgement promises, in our words: `none`, `memory`, `os`, `fsync` or `fsync every second`. */
  readonly durability: string
  /** The version that is installed; undefined when it is not. */
  version(): Promise<string | undefined>
  /** @param directory for its files; removed by whoever asks */
  start(directory: string): Promise<PeerServer>
}
