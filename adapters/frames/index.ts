/** The broker's side of the frame protocol (`domain/wire`), for any channel of bytes or messages. */
export { takeBytes } from './batch-memory.ts'
export type { ByteSink, CloseReason, FrameCarrier, Framing } from './carrier.ts'
export { type FrameBounds, FrameConnection, type FrameConnectionOptions } from './connection.ts'
export { type FrameBoundsOptions, FrameConnections } from './connections.ts'
export { readInto } from './read-into.ts'
export { type Reading, readTurns } from './read-turns.ts'
