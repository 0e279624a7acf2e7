/** What an operation is: what its request looks like, and the call of the session that answers it. */
import type {
  FetchedBatch,
  FieldsOf,
  JsonShape,
  MaybePromise,
  Platform,
  Session,
  Taken,
} from 'ratatoskr/ports'
import { jsonInteger, readFields, requestIdMax } from 'ratatoskr/ports'
import type { Subscriptions } from './subscriptions.ts'

/** The id of a request or subscription. */
export const jsonId = jsonInteger(0, requestIdMax)

/** What an operation works with. */
export interface OperationContext {
  readonly session: Session
  readonly subscriptions: Subscriptions
  readonly platform: Platform
  /** What a compressed batch may expand to, in bytes. */
  readonly expandedBatchBytesMax: number
  /** True when fetched batches go out as they are. */
  readonly binary: boolean
  /** Aborted by a `cancel` of this request, and when the connection ends. Asked for by operations that may wait. */
  signalFor(id: number): AbortSignal
  /** Cancels the request in flight with this id, if there is one. */
  cancel(id: number): void
}

/** A fetch that is answered by a binary frame instead of a reply. */
export class FetchedBinary {
  readonly batch: FetchedBatch
  constructor(batch: FetchedBatch) {
    this.batch = batch
  }
}

/** A take that is answered by leased frames and then a reply. */
export class TakenBinary {
  readonly taken: Taken
  constructor(taken: Taken) {
    this.taken = taken
  }
}

export interface Operation {
  /** Checks the request, then runs it. @returns what goes into the reply's `ok` */
  run(
    context: OperationContext,
    request: Readonly<Record<string, unknown>>,
    id: number,
  ): MaybePromise<unknown>
  /** True when a request may come without an id: it is then not answered. */
  readonly notifies: boolean
}

/** An operation that reads its fields by a shape. */
export function operation<Shape extends JsonShape>(
  shape: Shape,
  run: (context: OperationContext, fields: FieldsOf<Shape>, id: number) => MaybePromise<unknown>,
  notifies = false,
): Operation {
  return {
    run: (context, request, requestId) => run(context, readFields(request, shape), requestId),
    notifies,
  }
}
