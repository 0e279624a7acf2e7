/**
 * What a subscription has of delivery as a whole. There may be tens of thousands of subscriptions: what they share is held
 * once, and each has one small object of its own rather than a closure for every call.
 */
import type {
  CommittedOffset,
  DroppedMessages,
  Expansion,
  Logger,
  MessageDeliveredEvent,
  Overflow,
  Platform,
  SubscriberEvent,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { GroupService } from '../groups/group-service.ts'
import type { Admission } from './admission.ts'
import type { Runner } from './runner.ts'
import type { PushSubscription } from './subscription.ts'
import type { SubscriptionHost } from './subscription-host.ts'
import type { TopicState } from './topic-state.ts'

/** What all subscriptions share. */
export interface SharedDelivery {
  readonly platform: Platform
  readonly runner: Runner
  readonly admission: Admission
  readonly groups: GroupService
  readonly expansion: Expansion
}

export class SubscriptionHome implements SubscriptionHost {
  readonly #shared: SharedDelivery
  readonly #state: TopicState
  readonly #who: SubscriberEvent
  readonly #overflow: Overflow | undefined
  readonly #remote: boolean

  /** @param remote see `Subscriber` */
  constructor(
    shared: SharedDelivery,
    state: TopicState,
    who: SubscriberEvent,
    overflow: Overflow | undefined,
    remote: boolean,
  ) {
    this.#shared = shared
    this.#state = state
    this.#who = who
    this.#overflow = overflow
    this.#remote = remote
  }

  get runner(): Runner {
    return this.#shared.runner
  }

  get logger(): Logger {
    return this.#shared.platform.logger
  }

  get checksum(): Platform['checksum'] {
    return this.#shared.platform.checksum
  }

  get expansion(): Expansion {
    return this.#shared.expansion
  }

  overflowed(messages: DroppedMessages): void {
    if (this.#overflow === undefined) return
    this.#shared.admission.overflowed({ ...this.#who, ...messages, policy: this.#overflow.policy })
  }

  delivered(event: MessageDeliveredEvent): void {
    this.#shared.runner.spent(event.sizeBytes, this.#remote)
    this.#shared.admission.delivered(this.#state, event)
  }

  passedOver(sizeBytes: number): void {
    this.#shared.runner.spent(sizeBytes)
  }

  async commit(subscription: PushSubscription, offsets: readonly CommittedOffset[]): Promise<void> {
    const { group } = this.#who
    if (group === undefined) {
      throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'a subscription without a group has nothing to commit')
    }
    if (subscription.isOver) throw overError(subscription.endReason)
    await this.#shared.groups.commitAs(this.#state, group, subscription, offsets)
  }

  over(subscription: PushSubscription, reason: RatatoskrError | undefined, failed: boolean): void {
    const { group } = this.#who
    this.#state.subscriptions.delete(subscription)
    this.#state.growing.delete(subscription)
    if (group !== undefined) this.#shared.groups.leave(this.#state, group, subscription)
    this.#shared.admission.left(this.#who, reason, failed)
  }
}

/** Commits after the end: a member that was replaced learns so, everyone else that the subscription is closed. */
const overError = (reason: RatatoskrError | undefined): RatatoskrError =>
  reason ?? new RatatoskrError('RTK_CLOSED', 'the subscription is closed; commit before closing it')
