/**
 * `ratatoskr/ports`: everything an adapter or plugin may import, in-house or third-party alike.
 * Interfaces of the ports, and the pure rules of the domain that adapters share with the broker.
 */

export * from '../domain/backoff.ts'
export { BatchBuffer, isKeepable } from '../domain/batch/batch-buffer.ts'
export {
  BatchMemory,
  type BatchMemoryOptions,
  giveBackBytes,
  keepBytes,
  lendBytes,
  letEscape,
} from '../domain/batch/batch-memory.ts'
export {
  BatchBuilder,
  type BatchBuilderOptions,
  type RecordFields,
} from '../domain/batch/builder.ts'
export { utf8, utf8Text } from '../domain/batch/bytes.ts'
export { RecordCursor } from '../domain/batch/cursor.ts'
export { type Expansion, uncompressedBatches } from '../domain/batch/expand.ts'
export * from '../domain/batch/header.ts'
export {
  type BatchSource,
  type ExpiryRule,
  hasExpired,
  MessageReader,
  messagesOf,
} from '../domain/batch/messages.ts'
export { indexIntervalBytes, SparseIndex } from '../domain/batch/sparse-index.ts'
export { type BatchRules, verifyBatch } from '../domain/batch/verify.ts'
export * from '../domain/bind.ts'
export { portableCrc32c } from '../domain/checksum.ts'
export * from '../domain/durability.ts'
export {
  type ErrorCode,
  type ErrorDetails,
  type ErrorKind,
  errorCodes,
  isErrorCode,
  isRatatoskrError,
  RatatoskrError,
  toRatatoskrError,
} from '../domain/errors.ts'
export * from '../domain/headers.ts'
export * from '../domain/limits.ts'
export * from '../domain/message.ts'
export * from '../domain/message-id.ts'
export * from '../domain/metric-series.ts'
export * from '../domain/names.ts'
export { type Overflow, type OverflowPolicy, overflowPolicies } from '../domain/overflow.ts'
export { partitionForKey, StickyPartitioner } from '../domain/partitioner.ts'
export {
  batchesPerProducerMax,
  isBehind,
  nextSequence,
  ProducerTable,
} from '../domain/producers/producer-table.ts'
export * from '../domain/queue/queue-config.ts'
export * from '../domain/queue/settlement.ts'
export * from '../domain/queue/take-or-release.ts'
export * from '../domain/state-table.ts'
export * from '../domain/storage-rules.ts'
export * from '../domain/suggest.ts'
export * from '../domain/topic.ts'
export * from '../domain/topic-config.ts'
export { fromBase64, toBase64 } from '../domain/wire/base64.ts'
export * from '../domain/wire/dead-letters-json.ts'
export * from '../domain/wire/frames.ts'
export * from '../domain/wire/json.ts'
export * from '../domain/wire/message-json.ts'
export * from '../domain/wire/protocol.ts'
export * from '../domain/wire/publish-json.ts'
export * from '../domain/wire/queue-json.ts'
export * from '../domain/wire/requests-json.ts'
export * from '../domain/wire/stream.ts'
export * from '../domain/wire/websocket.ts'
export type * from './broker-facade.ts'
export type * from './clock.ts'
export type * from './component.ts'
export type * from './dead-letters.ts'
export type * from './diagnostics.ts'
export type * from './file-system.ts'
export type * from './groups.ts'
export type * from './health.ts'
export type * from './log-store.ts'
export type * from './metrics.ts'
export type * from './platform.ts'
export type * from './plugin.ts'
export type * from './positions.ts'
export type * from './publishing.ts'
export type * from './queue.ts'
export type * from './security.ts'
export type * from './session.ts'
export type * from './state-store.ts'
export type * from './storage.ts'
export type * from './subscribing.ts'
export type * from './transport.ts'
