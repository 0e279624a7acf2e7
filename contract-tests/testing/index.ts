/**
 * `ratatoskr/testing`: what tests of programs that use Ratatoskr need again and again. Knows no test runner: assertions
 * are those of node:assert.
 */
export { type ChaosOptions, type ChaosReport, chaosTest } from './chaos.ts'
export { type Failing, type Faults, failing, faultyStorage } from './faulty-storage.ts'
export {
  type DeliveryOptions,
  type DeliveryReport,
  publishAndAssertDelivery,
} from './publish-and-assert-delivery.ts'
export { startTestBroker } from './start-test-broker.ts'
