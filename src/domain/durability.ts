/** What an acknowledgement means: the five levels, in rising order. See the README for what each survives. */
export const durabilityLevels = ['memory', 'os', 'interval', 'fsync', 'quorum'] as const

/**
 * - `memory`: in this process's memory; survives nothing
 * - `os`: written to the kernel; survives SIGKILL of the broker
 * - `interval`: as `os`, synced every T; survives a power cut but for the last T
 * - `fsync`: on the disk before the acknowledgement; survives a power cut on an honest disk
 * - `quorum`: on a majority of a replicated engine; survives the loss of any one node
 */
export type Durability = (typeof durabilityLevels)[number]

/** The number of a level on binary wires: its place in the list, from 0. */
export const durabilityNumber = (level: Durability): number => durabilityLevels.indexOf(level)

/** The level of a number on a binary wire; undefined when there is none. */
export const durabilityOfNumber = (number: number): Durability | undefined => durabilityLevels[number]

/** True when `reached` promises at least what `asked` does. */
export const isAtLeast = (reached: Durability, asked: Durability): boolean =>
  durabilityNumber(reached) >= durabilityNumber(asked)

/** True for the name of a level. */
export const isDurability = (value: unknown): value is Durability =>
  durabilityLevels.includes(value as Durability)
