/**
 * The connections of one client. Each comes back by itself, and whoever sends or reads on one does so until he is closed: so a
 * link that is lost, or full, touches only what runs on it, and what one producer sends keeps its order.
 */
import { quoteForMessage, RatatoskrError, toRatatoskrError } from '../ports/index.ts'
import type { Connection } from './connection.ts'

/** A slip of the pen shall not open a million sockets. */
const connectionsMax = 1_000

/** A connection for somebody who stays on it. */
export interface Berth {
  readonly connection: Connection
  /** He is gone. Idempotent. */
  readonly leave: () => void
}

interface Lane {
  readonly connection: Connection
  /** Who is on it; the calls of the client count as one, on the first. */
  users: number
}

export class ConnectionPool {
  readonly #lanes: readonly Lane[]
  /** Settles when the first of them is over: with the reason when it gave up, with undefined when it was closed. */
  readonly closed: Promise<RatatoskrError | undefined>

  /** @param connections at least one */
  constructor(connections: readonly Connection[]) {
    this.#lanes = connections.map((connection, place) => ({ connection, users: place === 0 ? 1 : 0 }))
    this.closed = Promise.race(connections.map((connection) => connection.closed))
  }

  /**
   * Opens so many, at once.
   * @throws what the first that could not be opened threw, when the others are closed again
   */
  static async open(count: number, open: () => Promise<Connection>): Promise<ConnectionPool> {
    const opened = await Promise.allSettled(Array.from({ length: count }, open))
    const connections = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = opened.find((one) => one.status === 'rejected')
    if (failed === undefined) return new ConnectionPool(connections)
    await Promise.allSettled(connections.map((connection) => connection.close()))
    throw toRatatoskrError(failed.reason)
  }

  /** For single calls. */
  get first(): Connection {
    return this.#lanes[0].connection
  }

  /** A place on the one with the fewest users. */
  berth(): Berth {
    let lane = this.#lanes[0]
    for (const other of this.#lanes) if (other.users < lane.users) lane = other
    lane.users++
    let stays = true
    const leave = (): void => {
      if (stays) lane.users--
      stays = false
    }
    return { connection: lane.connection, leave }
  }

  async close(): Promise<void> {
    await Promise.all(this.#lanes.map(({ connection }) => connection.close()))
  }
}

/** How many connections are wanted. @throws RTK_INVALID_ARGUMENT */
export function connectionsOf(value: number | undefined): number {
  if (value === undefined) return 1
  if (Number.isSafeInteger(value) && value >= 1 && value <= connectionsMax) return value
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `connections must be a whole number from 1 to ${connectionsMax}, got ${quoteForMessage(value)}`,
  )
}
