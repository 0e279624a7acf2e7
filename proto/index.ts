/**
 * `ratatoskr/proto`: the gRPC contract in TypeScript. Messages and services of `ratatoskr.v1` as they are, those of the
 * legacy service under `legacy`, and the codecs of the data plane.
 */
export * from './data-plane.ts'
export { descriptors } from './generated/descriptors.ts'
export * as legacy from './generated/ratatoskr/legacy.ts'
export * from './generated/ratatoskr/v1/broker_service.ts'
export * from './generated/ratatoskr/v1/dead_letter_service.ts'
export * from './generated/ratatoskr/v1/group_service.ts'
export * from './generated/ratatoskr/v1/message_service.ts'
export * from './generated/ratatoskr/v1/queue_config.ts'
export * from './generated/ratatoskr/v1/queue_service.ts'
export * from './generated/ratatoskr/v1/topic_service.ts'
export * from './generated/ratatoskr/v1/types.ts'
export { type Method, status, statusName } from './grpc.ts'
export {
  FrameError,
  FrameReader,
  frameOf,
  framePrefixBytes,
  frameWithBody,
  type MessageFrame,
  messageOf,
} from './message-frames.ts'
export { type WrongNumber, wrongNumberIn, wrongNumberInBytes } from './number-fields.ts'
export { type Reading, readSocket, readStream } from './stream-reading.ts'
export * from './words.ts'
