/** How far a sender of single messages may be ahead: what is in between is queued in a server that may drop what is too much. */
const lagMessagesMax = 100_000
const lagBytesMax = 16 * 1024 * 1024

export const peerLagMax = (payloadBytes: number): number =>
  Math.min(lagMessagesMax, Math.floor(lagBytesMax / payloadBytes))
