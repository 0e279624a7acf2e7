/**
 * The requests of one connection whose session stands: each is admitted within the bounds, run, and answered by its id.
 */
import type {
  LeaseProof,
  Limits,
  MaybePromise,
  Platform,
  ProduceFrame,
  Session,
  Taken,
} from 'ratatoskr/ports'
import {
  encodeFetchedHeader,
  encodeLeasedHeader,
  encodeProduced,
  errorToJson,
  giveBackBytes,
  isRatatoskrError,
  jsonLease,
  parseJson,
  RatatoskrError,
  toRatatoskrError,
} from 'ratatoskr/ports'
import type { FrameWriter } from './frame-writer.ts'
import { FetchedBinary, type OperationContext, TakenBinary } from './operation.ts'
import { operationOf } from './operations.ts'
import { FrameRefused, type Request } from './request.ts'
import { Subscriptions } from './subscriptions.ts'

/** Who sends batches of this size keeps as many under way as it may: it waits for each acknowledgement. */
const bulkBytesMin = 16 * 1024

export interface CallBounds {
  /** Requests that wait for their answers. */
  readonly requestsInFlightMax: number
  /** Of those, the ones that may wait for messages and whose answers may be large. */
  readonly fetchesInFlightMax: number
}

export interface CallsOptions {
  readonly session: Session
  readonly writer: FrameWriter
  /** True when batches travel as binary frames. */
  readonly binary: boolean
  readonly limits: Limits
  readonly platform: Platform
  readonly bounds: CallBounds
}

export class Calls implements OperationContext {
  readonly session: Session
  readonly subscriptions: Subscriptions
  readonly platform: Platform
  readonly expandedBatchBytesMax: number
  readonly binary: boolean
  readonly #writer: FrameWriter
  readonly #bounds: CallBounds
  /** Of the requests that may wait, by id. */
  #controllers: Map<number, AbortController> | undefined
  #inFlight = 0
  /** Why no more requests are taken. */
  #refusing: RatatoskrError | undefined
  #idle: (() => void) | undefined

  constructor({ session, writer, binary, limits, platform, bounds }: CallsOptions) {
    const { expandedBatchBytesMax } = limits
    this.session = session
    this.platform = platform
    this.binary = binary
    this.expandedBatchBytesMax = expandedBatchBytesMax
    this.subscriptions = new Subscriptions({ session, platform, writer, binary, expandedBatchBytesMax })
    this.#writer = writer
    this.#bounds = bounds
  }

  /** @throws FrameRefused when it must be answered and has no id */
  request({ op, id, fields }: Request): void {
    this.#run(
      id,
      () => {
        const operation = operationOf(op)
        if (id === undefined && !operation.notifies) {
          throw new FrameRefused('protocol', `${op} needs an id to be answered by`)
        }
        return operation.run(this, fields, id ?? 0)
      },
      (result) => this.#succeed(id, result),
    )
  }

  produce({ id, topic, partition, durability, lease, batch }: ProduceFrame): void {
    this.#run(
      id,
      () =>
        this.session.publishBatch(
          topic,
          partition,
          batch,
          durability === undefined && lease === undefined
            ? undefined
            : { durability, lease: lease === undefined ? undefined : leaseOf(lease) },
        ),
      (receipt) => {
        const isBulk = batch.length >= bulkBytesMin
        giveBackBytes(batch) // whoever still has it holds it himself
        this.#writer.binary(encodeProduced(id, receipt), isBulk)
      },
    )
  }

  signalFor(id: number): AbortSignal {
    this.#controllers ??= new Map()
    if (this.#controllers.has(id)) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `id ${id} belongs to a request in flight; take another`,
      )
    }
    const { fetchesInFlightMax } = this.#bounds
    if (this.#controllers.size >= fetchesInFlightMax) throw tooMany(fetchesInFlightMax, 'fetchesInFlightMax')
    const controller = new AbortController()
    this.#controllers.set(id, controller)
    return controller.signal
  }

  cancel(id: number): void {
    this.#controllers?.get(id)?.abort()
  }

  /** Cancels what waits for messages. */
  cancelAll(): void {
    for (const controller of this.#controllers?.values() ?? []) controller.abort()
  }

  /** Takes no more requests, ends subscriptions, and resolves when every request is answered. */
  async drain(reason: RatatoskrError): Promise<void> {
    this.#refusing = reason
    this.cancelAll()
    await this.subscriptions.endAll(reason)
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
  }

  #run<Result>(
    id: number | undefined,
    call: () => MaybePromise<Result>,
    answer: (result: Result) => MaybePromise<void>,
  ): void {
    const refusal = this.#refusal()
    if (refusal !== undefined) {
      this.#fail(id, refusal)
      return
    }
    this.#inFlight++
    // A request with the id of another in flight must not let go of what the other can be cancelled by.
    const release = id !== undefined && this.#controllers?.has(id) !== true ? id : undefined
    let result: MaybePromise<Result>
    try {
      result = call()
    } catch (error) {
      this.#settled(release)
      if (error instanceof FrameRefused) throw error
      this.#fail(id, error)
      return
    }
    if (!(result instanceof Promise)) {
      void answer(result)
      this.#settled(release)
      return
    }
    // One reaction for all of it: many requests wait at once, and a `catch` and a `finally` would be four promises more for each.
    void result.then(
      (given) => this.#answer(id, release, given, answer),
      (error) => {
        this.#settled(release)
        this.#fail(id, error)
      },
    )
  }

  #answer<Result>(
    id: number | undefined,
    release: number | undefined,
    result: Result,
    answer: (result: Result) => MaybePromise<void>,
  ): void {
    try {
      const answering = answer(result)
      if (answering instanceof Promise) {
        void answering.catch((error) => this.#fail(id, error)).finally(() => this.#settled(release))
        return
      }
    } catch (error) {
      this.#fail(id, error)
    }
    this.#settled(release)
  }

  #refusal(): RatatoskrError | undefined {
    const { requestsInFlightMax } = this.#bounds
    if (this.#refusing !== undefined) return this.#refusing
    return this.#inFlight < requestsInFlightMax
      ? undefined
      : tooMany(requestsInFlightMax, 'requestsInFlightMax')
  }

  #settled(release: number | undefined): void {
    this.#inFlight--
    if (release !== undefined) this.#controllers?.delete(release)
    if (this.#inFlight === 0) this.#idle?.()
  }

  /** @returns a promise while a large answer waits for its turn */
  #succeed(id: number | undefined, result: unknown): MaybePromise<void> {
    if (id === undefined) return
    if (result instanceof FetchedBinary) {
      return this.#writer.deliverBinary(encodeFetchedHeader(id, result.batch), result.batch.bytes)
    }
    if (result instanceof TakenBinary) return this.#taken(id, result.taken)
    this.#writer.text(JSON.stringify({ id, ok: result ?? {} }))
    this.subscriptions.announced(id)
  }

  /** The batches in turn, and behind them the reply. */
  #taken(id: number, { batches, ...taken }: Taken): MaybePromise<void> {
    for (const batch of batches) void this.#writer.deliverBinary(encodeLeasedHeader(id, batch), batch.bytes)
    return this.#writer.deliverText(JSON.stringify({ id, ok: taken }))
  }

  #fail(id: number | undefined, error: unknown): void {
    const known =
      this.#refusing !== undefined && isRatatoskrError(error, 'RTK_CANCELLED') ? this.#refusing : error
    const json = errorToJson(loggedError(known, this.platform))
    this.#writer.text(
      JSON.stringify(id === undefined ? { event: 'error', error: json } : { id, error: json }),
    )
  }
}

/** The lease of a produce frame. */
const leaseOf = (json: string): LeaseProof => jsonLease(parseJson(json, { depthMax: 2 }), 'lease')

const tooMany = (max: number, bound: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_OVERLOADED',
    `a connection may have ${max} requests in flight (${bound}); wait for answers`,
  )

/** The error as the peer may see it. What it must not see is logged. */
export function loggedError(error: unknown, platform: Platform): RatatoskrError {
  const known = toRatatoskrError(error)
  if (known.code === 'RTK_INTERNAL') {
    platform.logger.error('request failed', {
      code: known.code,
      cause: known.cause ?? known.message,
    })
  }
  return known
}
