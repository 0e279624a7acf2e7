/** `ratatoskr/contract-tests`: the specifications of the ports as suites that any adapter can run. Needs vitest. */

export { batchOfSize, crc32c, type SampleBatch, sampleBatch } from './batches.ts'
export * from './clock.ts'
export * from './log-store.ts'
export * from './manual-clock.ts'
export * from './metrics.ts'
export * from './security.ts'
export * from './state-store.ts'
export * from './suite.ts'
export * from './test-platform.ts'
