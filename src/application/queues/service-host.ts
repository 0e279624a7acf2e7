/** What queue groups need of the broker. */
import type { Limits, Logger } from '../../ports/index.ts'
import type { Admission } from '../delivery/admission.ts'
import type { TopicState } from '../delivery/topic-state.ts'
import type { LiveTopic } from '../seams.ts'
import type { Checkpoints } from './checkpoints.ts'
import type { Liveness } from './liveness.ts'
import type { QueueShared } from './partition-host.ts'
import type { QueueStore } from './queue-store.ts'

export interface QueueServiceHost {
  readonly limits: Limits
  readonly logger: Logger
  readonly admission: Admission
  readonly store: QueueStore
  readonly checkpoints: Checkpoints
  readonly liveness: Liveness
  readonly shared: QueueShared
  /** @throws why delivery has stopped */
  state(topic: LiveTopic): TopicState
}
