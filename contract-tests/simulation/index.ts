/** A disk that loses power on command, for the tests of anything that keeps its files through the `FileSystem` port. */
export type { CallFilter, DiskCall, DiskFault, FaultEffect } from './faults.ts'
export type { Survival } from './nodes.ts'
export {
  type PowerCut,
  type SimulatedDisk,
  type SimulatedDiskOptions,
  simulatedDisk,
} from './simulated-disk.ts'
export type { TracedCall } from './trace.ts'
