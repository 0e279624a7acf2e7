/**
 * How often a property is tried, and on how much: all that is wanted where RATATOSKR_TEST_ROUNDS is `all`, as CI has it, and a
 * part of it otherwise, for people wait for `npm test`.
 */
const isAll = process.env.RATATOSKR_TEST_ROUNDS === 'all'

/** @returns `all` in CI, and `part` otherwise */
export const rounds = (all: number, part: number): number => (isAll ? all : part)
