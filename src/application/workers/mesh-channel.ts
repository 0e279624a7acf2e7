/**
 * What the mesh needs of whatever joins two workers: whole messages, in order, until it closes. A port between two threads
 * is one; so could a connection between two machines be.
 */

/** One call, answer or news; see mesh-link.ts. */
export type MeshItem = readonly unknown[]

/** What crosses a channel at once: all that was said in one turn. */
export interface MeshMessage {
  /** A number stands for so many appends, or answers to them, which are in `numbers`. */
  readonly items: readonly (MeshItem | number)[]
  /** Appends and their answers, a row of numbers each: cloning objects would cost more than the appends themselves. */
  readonly numbers: Float64Array<ArrayBuffer> | undefined
  /** Bytes that the items refer to; given away by the sender. */
  readonly bytes: ArrayBuffer | undefined
}

export interface MeshChannel {
  /** Sends one message. What comes after the channel has closed is lost. */
  post(message: MeshMessage): void
  /** @param take called with each message, in order; never in the turn of `open` itself */
  open(take: (message: MeshMessage) => void, closed: () => void): void
  /** Runs something when what else is ready in this turn of the event loop has run: what is said till then crosses together. */
  atTurnEnd(run: () => void): void
  close(): void
}
