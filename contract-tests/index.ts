/** `ratatoskr/contract-tests`: the specifications of the ports as suites that any adapter can run. Needs vitest. */
export * from './clock.ts'
export * from './manual-clock.ts'
export * from './suite.ts'
