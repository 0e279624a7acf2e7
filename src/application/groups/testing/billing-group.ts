/** Calls about the group `billing` of the bench's topic, which most tests of groups use. */
import type { DeliveryBench } from '../../delivery/testing/delivery-bench.ts'

export const describeGroup = (bench: DeliveryBench, group = 'billing') =>
  bench.delivery.describeGroup(bench.topic, group)

/** As a member, or from outside the group without one. */
export const commit = (bench: DeliveryBench, offset: number, member?: string, partition = 0) =>
  bench.delivery.commit(bench.topic, { group: 'billing', member, offsets: [{ partition, offset }] })
