/** What links have in common that leave queue groups to a part of their own. */
import type { Link } from '../link.ts'

/** The operations of a link on queue groups. */
export type QueueOperations = Pick<
  Link,
  | 'consume'
  | 'take'
  | 'settle'
  | 'heartbeat'
  | 'leaveQueue'
  | 'createQueue'
  | 'alterQueue'
  | 'describeQueue'
  | 'pauseQueue'
>
type Asked<Name extends keyof QueueOperations> = Parameters<QueueOperations[Name]>
type Answer<Name extends keyof QueueOperations> = ReturnType<QueueOperations[Name]>

export abstract class LinkWithQueues implements QueueOperations {
  protected abstract readonly queues: QueueOperations

  consume(...asked: Asked<'consume'>): Answer<'consume'> {
    return this.queues.consume(...asked)
  }

  take(...asked: Asked<'take'>): Answer<'take'> {
    return this.queues.take(...asked)
  }

  settle(...asked: Asked<'settle'>): Answer<'settle'> {
    return this.queues.settle(...asked)
  }

  heartbeat(...asked: Asked<'heartbeat'>): Answer<'heartbeat'> {
    return this.queues.heartbeat(...asked)
  }

  leaveQueue(...asked: Asked<'leaveQueue'>): Answer<'leaveQueue'> {
    return this.queues.leaveQueue(...asked)
  }

  createQueue(...asked: Asked<'createQueue'>): Answer<'createQueue'> {
    return this.queues.createQueue(...asked)
  }

  alterQueue(...asked: Asked<'alterQueue'>): Answer<'alterQueue'> {
    return this.queues.alterQueue(...asked)
  }

  describeQueue(...asked: Asked<'describeQueue'>): Answer<'describeQueue'> {
    return this.queues.describeQueue(...asked)
  }

  pauseQueue(...asked: Asked<'pauseQueue'>): Answer<'pauseQueue'> {
    return this.queues.pauseQueue(...asked)
  }
}
