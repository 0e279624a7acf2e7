/** What a subscription is made with. */
import type { CommittedOffset, Logger, MessageDeliveredEvent, RatatoskrError } from '../../ports/index.ts'
import type { OverflowHost } from './overflow.ts'
import type { PushSubscription } from './subscription.ts'

/** Who a subscription is, for its holder, hooks and logs. */
export interface SubscriptionIdentity {
  readonly id: string
  readonly topic: string
  readonly group: string | undefined
  readonly member: string
}

/** What a subscription needs of delivery as a whole. */
export interface SubscriptionHost extends OverflowHost {
  readonly logger: Logger
  delivered(event: MessageDeliveredEvent): void
  passedOver(sizeBytes: number): void
  commit(subscription: PushSubscription, offsets: readonly CommittedOffset[]): Promise<void>
  /** Called once, before the sink is told: `failed` when the sink or its batch was the reason. */
  over(subscription: PushSubscription, reason: RatatoskrError | undefined, failed: boolean): void
}
