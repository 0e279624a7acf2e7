/** Randomness of the operating system as a port. */
import { randomFillSync, randomUUID } from 'node:crypto'
import type { Random } from 'ratatoskr/ports'

/** The system's source of randomness. */
export const systemRandom: Random = Object.freeze({
  fill: (bytes: Uint8Array) => randomFillSync(bytes),
  uuid: () => randomUUID(),
  next: () => Math.random(),
})
