/** Taking for a caller who may be gone when there is an answer: what he would not get goes to somebody else at once. */
import { RatatoskrError } from '../errors.ts'

/** Of a leased batch, what gives it back. */
interface Leased {
  readonly partition: number
  /** 0 for none. */
  readonly lease: number
  readonly firstOffset: number
  readonly lastOffset: number
}

interface Release {
  readonly action: 'release'
  readonly partition: number
  readonly lease: number
  readonly from: number
  readonly to: number
}

/** Of a session, what this needs. */
interface Queues<Request, Taken> {
  take(topic: string, request: Request, call: { readonly signal: AbortSignal }): Promise<Taken>
  settle(
    topic: string,
    request: { readonly group: string; readonly settlements: readonly Release[] },
  ): unknown
}

/**
 * Takes, and releases what was taken when nobody waits for it any more. Messages without a lease are handed over all the same.
 * @throws as `take`; RTK_CANCELLED when it released
 */
export async function takeOrRelease<
  Request extends { readonly group: string },
  Taken extends { readonly batches: readonly Leased[] },
>(queues: Queues<Request, Taken>, topic: string, request: Request, signal: AbortSignal): Promise<Taken> {
  const taken = await queues.take(topic, request, { signal })
  const leased = signal.aborted ? taken.batches.filter(({ lease }) => lease > 0) : []
  if (leased.length === 0) return taken
  const settlements = leased.map(
    ({ partition, lease, firstOffset, lastOffset }): Release => ({
      action: 'release',
      partition,
      lease,
      from: firstOffset,
      to: lastOffset + 1,
    }),
  )
  await queues.settle(topic, { group: request.group, settlements })
  throw new RatatoskrError('RTK_CANCELLED', 'the caller waits no more; what was taken was released')
}
