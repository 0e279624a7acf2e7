/** `ratatoskr`: assemble a broker, configure one, and the errors and types that everything shares. */
export type { BrokerOptions } from './composition/broker-options.ts'
export {
  defineConfig,
  type ListenConfig,
  type RatatoskrConfig,
  type TokenConfig,
} from './composition/config.ts'
export { createBroker } from './composition/create-broker.ts'
export type { EmbeddedBroker } from './composition/embedded-broker.ts'
export {
  type ErrorCode,
  type ErrorKind,
  errorCodes,
  isRatatoskrError,
  RatatoskrError,
} from './domain/errors.ts'
export type {
  Durability,
  Health,
  Limits,
  Message,
  PublishReceipt,
  StartPosition,
  TopicConfig,
  TopicDescription,
  TopicStats,
} from './ports/index.ts'
