/** Frames of HTTP/2 as RFC 9113 has them. */
import { protocolError } from './errors.ts'

export const frameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

export const flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const

export const setting = {
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const

export const headBytes = 9
/** Of a frame whose receiver has not asked for more; we do not. */
export const frameBytesDefault = 16_384
export const frameBytesMost = 2 ** 24 - 1
/** Of a window that nobody has set. */
export const windowDefault = 65_535
export const windowMost = 2 ** 31 - 1
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** Writes the head of a frame. */
export function writeHead(
  to: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  to[at] = length >>> 16
  to[at + 1] = length >>> 8
  to[at + 2] = length
  to[at + 3] = type
  to[at + 4] = flags
  writeUint32(to, at + 5, streamId)
}

function writeUint32(to: Uint8Array, at: number, value: number): void {
  to[at] = value >>> 24
  to[at + 1] = value >>> 16
  to[at + 2] = value >>> 8
  to[at + 3] = value
}

export const uint32 = (of: Uint8Array, at: number): number =>
  ((of[at] << 24) | (of[at + 1] << 16) | (of[at + 2] << 8) | of[at + 3]) >>> 0

export const uint24 = (of: Uint8Array, at: number): number => (of[at] << 16) | (of[at + 1] << 8) | of[at + 2]

/** A whole frame. */
export function frameOf(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + payload.length)
  writeHead(frame, 0, payload.length, type, flags, streamId)
  frame.set(payload, headBytes)
  return frame
}

/** A frame whose payload is one number, or more of 32 bits. */
export function numbersFrame(type: number, streamId: number, ...numbers: number[]): Buffer {
  const payload = Buffer.allocUnsafe(numbers.length * 4)
  for (const [place, number] of numbers.entries()) writeUint32(payload, place * 4, number)
  return frameOf(type, 0, streamId, payload)
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.allocUnsafe(settings.length * 6)
  for (const [place, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, place * 6)
    payload.writeUInt32BE(value, place * 6 + 2)
  }
  return frameOf(frameType.SETTINGS, 0, 0, payload)
}

/** @throws Http2Error when there is more padding than payload */
export function unpadded(payload: Uint8Array, from: number): Uint8Array {
  const padding = payload[from]
  if (payload.length <= from || padding + from + 1 > payload.length)
    throw protocolError('there is more padding than frame')
  return payload.subarray(from + 1, payload.length - padding)
}
