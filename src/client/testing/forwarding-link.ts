/**
 * A link whose publishes go through somebody who forwards them: calls take their time each on its own and so overtake each
 * other, answers get lost, and a second copy of a call may arrive later, whatever was answered to the first.
 */
import { type BatchReceipt, type Clock, RatatoskrError } from '../../ports/index.ts'
import type { Link } from '../link.ts'
import type { FakeBroker } from './fake-broker.ts'
import { FakeLink } from './fake-link.ts'
import { lost } from './fake-subscription.ts'

/** What becomes of one call. */
export interface CallFate {
  /** How long it is on its way, in milliseconds. */
  readonly delayMs: number
  /** How much later than it a second copy arrives; undefined for none. */
  readonly copyAfterMs: number | undefined
  /** Its answer does not come, and the link is lost for it. */
  readonly answerLost: boolean
}

/** A link of the broker whose publishes meet the fates that `nextFate` gives. */
export function forwardingLink(broker: FakeBroker, clock: Clock, nextFate: () => CallFate): Link {
  const link = new FakeLink(broker)
  broker.links.add(link)
  link.publishBatch = (topic, partition, batch, { signal } = {}) => {
    if (link.isClosed) return Promise.reject(lost())
    const sent = batch.slice()
    const { delayMs, copyAfterMs, answerLost } = nextFate()
    const arrive = (): BatchReceipt => {
      const refusal = broker.refuse(partition, sent)
      if (refusal !== undefined) throw refusal
      return { ...broker.find(topic).partitions[partition].append(sent), partition }
    }
    if (copyAfterMs !== undefined) {
      clock.after(delayMs + copyAfterMs, () => {
        try {
          arrive()
        } catch {} // nobody asked for this answer
      })
    }
    return new Promise<BatchReceipt>((resolve, reject) => {
      signal?.addEventListener('abort', () =>
        reject(new RatatoskrError('RTK_TIMEOUT', 'nobody waits any more')),
      )
      void link.closed.then(() => reject(lost()))
      clock.after(delayMs, () => {
        let answer: () => void
        try {
          const receipt = arrive()
          answer = () => resolve(receipt)
        } catch (error) {
          answer = () => reject(error)
        }
        if (answerLost) link.cut()
        else answer()
      })
    })
  }
  return link
}
