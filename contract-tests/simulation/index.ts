/**
 * A disk that loses power on command, for the tests of anything that keeps its files through the `FileSystem` port; and a
 * network and processes that fail, for simulations of a broker with its clients.
 */
export type { CallFilter, DiskCall, DiskFault, FaultEffect } from './faults.ts'
export {
  type NetworkEnd,
  type NetworkFaults,
  SimulatedNetwork,
  type SimulatedNetworkOptions,
  simulatedNetwork,
} from './network.ts'
export type { Survival } from './nodes.ts'
export { ProcessClock } from './process-clock.ts'
export {
  type PowerCut,
  type SimulatedDisk,
  type SimulatedDiskOptions,
  simulatedDisk,
} from './simulated-disk.ts'
export type { TracedCall } from './trace.ts'
