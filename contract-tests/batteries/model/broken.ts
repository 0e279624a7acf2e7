/** A promise that the broker broke. */
export const broken = (promise: string): Error => new Error(promise)
