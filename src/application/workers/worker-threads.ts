/** What the controller needs of whatever runs its workers: threads of this process, or a double in a test. */
import type { MeshChannel } from './mesh-channel.ts'

export interface WorkerThread {
  /** To the worker. */
  readonly channel: MeshChannel
  /** Settles when the worker has ended: with why, when nobody asked it to. */
  readonly ended: Promise<unknown>
  /** Has it close what it has open and end. */
  stop(): void
  /** Ends it at once. */
  terminate(): Promise<void>
}

export interface WorkerThreads {
  /** Workers, with the controller. */
  readonly count: number
  /** Starts a worker. Resolves when it has started its storage and can be talked to. @throws why it could not start */
  spawn(index: number): Promise<WorkerThread>
  /** Joins two workers that run. */
  connect(one: number, other: number): void
}
