/**
 * Keeps the log of one partition open: opens it with its state rebuilt from storage, takes it out of use when it fails, and
 * lets the supervisor open it again. Whoever uses the log asks for it each time, since it may be another one by then.
 */
import { isRatatoskrError, type RatatoskrError } from '../../domain/errors.ts'
import type { PartitionDescription } from '../../domain/topic.ts'
import type { ComponentHealth, LogId, OffsetRange, PartitionLog } from '../../ports/index.ts'
import { within } from '../deadline.ts'
import type { Supervisor } from '../supervision/supervisor.ts'
import { closedLog, type LogOffsets, offsetsOf } from './log-offsets.ts'
import type { PartitionContext, PartitionOwner } from './partition-context.ts'
import { partitionCorrupt, partitionUnavailable } from './partition-errors.ts'

/** Whose log it is. */
export interface LogUser {
  /** Finds out what the log says, before anything is appended to it. A rejection closes the log again. */
  readBack(log: PartitionLog): Promise<void>
  /** The log has failed and is not in use any more; it will be opened again. */
  logFailed(error: unknown): void
  /** `state` is another one. */
  stateChanged(): void
}

export class LogKeeper {
  readonly #index: number
  readonly #owner: PartitionOwner
  readonly #context: PartitionContext
  readonly #id: LogId
  readonly #user: LogUser
  readonly #supervisor: Supervisor
  #state: PartitionDescription['state'] = 'recovering'
  /** Undefined while there is no log to write to. */
  #log: PartitionLog | undefined
  /** The log, or where it last stood. */
  #offsets: LogOffsets = closedLog
  /** Settles when the log that failed is closed. */
  #closing: Promise<void> | undefined
  #closedWith: RatatoskrError | undefined
  /** Why the store does not open the log, when only a repair helps. */
  #damage: RatatoskrError | undefined
  /** It was open before: there must be something of it. */
  #known = false

  constructor(index: number, owner: PartitionOwner, context: PartitionContext, user: LogUser) {
    this.#index = index
    this.#owner = owner
    this.#context = context
    this.#id = { topicId: owner.id, partition: index }
    this.#user = user
    this.#supervisor = context.supervision.supervise({
      name: `partition ${owner.text}/${index}`,
      restart: () => this.#reopen(),
      statusChanged: (status) => {
        if (status !== 'ok') this.#setState(status === 'failed' ? 'failed' : 'recovering')
      },
    })
  }

  get state(): PartitionDescription['state'] {
    return this.#state
  }

  /** The log while it is open. */
  get log(): PartitionLog | undefined {
    return this.#log
  }

  /** The log's own while it is open, and the last that are known otherwise. */
  get offsets(): LogOffsets {
    return this.#offsets
  }

  get closed(): boolean {
    return this.#closedWith !== undefined
  }

  /** Health of a partition that serves though records of it are lost; the supervisor reports one that does not serve. */
  get trouble(): readonly ComponentHealth[] {
    if (this.#log === undefined) return []
    const lost = [{ ...this.#supervisor.health, status: 'degraded', lastError: 'RTK_STORE_CORRUPT' } as const]
    if (this.#log.wasMissing === true) return lost
    // What was accepted is a part of what is damaged, so that counting tells whether anything else is.
    if (offsetsIn(this.#offsets.damaged) === offsetsIn(this.#log.acceptedLosses)) return []
    return lost
  }

  /** The log to work on. @throws RTK_UNAVAILABLE while there is none, RTK_STORE_CORRUPT, and why it was closed */
  online(): PartitionLog {
    if (this.#log === undefined) throw this.unavailable()
    return this.#log
  }

  /** Why there is no log. */
  unavailable(): RatatoskrError {
    return this.#closedWith ?? this.#damage ?? partitionUnavailable(this.#owner.text, this.#index)
  }

  /** Opens the log. @throws what the store throws */
  async open(): Promise<void> {
    this.#use(await this.#openLog())
  }

  /**
   * Opens a log that was there before, and leaves a failure to the supervisor: a damaged partition must not keep the broker
   * from starting.
   */
  async openSupervised(): Promise<void> {
    this.#known = true
    try {
      await this.open()
    } catch (error) {
      this.#supervisor.failed(error)
    }
  }

  /** Closes the log and opens it with the topic's options as they are now. */
  async openAgain(log: PartitionLog): Promise<void> {
    this.#takeOffline(log)
    this.#setState('recovering')
    try {
      await this.#reopen()
    } catch (error) {
      this.#supervisor.failed(error)
    }
  }

  /** Gives the log up, unless that was done: it is closed, and opened again by the supervisor. */
  failed(log: PartitionLog, error: unknown): void {
    if (this.#log !== log) return
    this.#takeOffline(log)
    this.#user.logFailed(error)
    this.#supervisor.failed(error)
  }

  /** Closes the log for good: from here on there is none, because of `reason`. Idempotent; the first reason stays. */
  async close(reason: RatatoskrError): Promise<void> {
    this.#closedWith ??= reason
    const log = this.#log
    if (log !== undefined) this.#takeOffline(log)
    this.#setState('failed')
    await this.#supervisor.stop()
    await this.#closing
  }

  #takeOffline(log: PartitionLog): void {
    this.#log = undefined
    this.#offsets = offsetsOf(log)
    // A store that never finishes closing must not keep the partition down for ever.
    this.#closing = within(
      this.#context.platform.clock,
      this.#context.limits.stopTimeoutMs,
      closeLog(log),
    ).then(undefined, (error) => {
      this.#context.platform.logger.warn('closing a log failed', { ...this.#id, error })
    })
  }

  async #openLog(): Promise<PartitionLog> {
    const log = await this.#openStored()
    try {
      await this.#user.readBack(log)
      await this.#context.delivery.logOpened(this.#owner, this.#index, log.endOffset)
      return log
    } catch (error) {
      await closeLog(log)
      throw error
    }
  }

  async #openStored(): Promise<PartitionLog> {
    try {
      const log = await this.#context.store.openLog(this.#id, {
        ...this.#owner.logOptions,
        known: this.#known,
      })
      this.#damage = undefined
      return log
    } catch (error) {
      const corrupt = isRatatoskrError(error, 'RTK_STORE_CORRUPT')
      this.#damage = corrupt ? partitionCorrupt(this.#owner.text, this.#index, error) : undefined
      throw error
    }
  }

  async #reopen(): Promise<void> {
    await this.#closing
    const log = await this.#openLog()
    if (this.#closedWith === undefined) this.#use(log)
    else await log.close()
  }

  #use(log: PartitionLog): void {
    this.#log = log
    this.#known = true
    this.#offsets = log
    this.#setState('online')
  }

  #setState(state: PartitionDescription['state']): void {
    const shown = this.#closedWith === undefined ? state : 'failed'
    if (shown === this.#state) return
    this.#state = shown
    this.#user.stateChanged()
  }
}

// An adapter's close may throw before it returns its promise; then it is the same as a rejection.
async function closeLog(log: PartitionLog): Promise<void> {
  await log.close()
}

const offsetsIn = (ranges: readonly OffsetRange[]): number =>
  ranges.reduce((sum, { from, to }) => sum + to - from, 0)
