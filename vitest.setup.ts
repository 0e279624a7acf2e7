/**
 * Bytes of batches that are used after they were given back are found out (see `BatchMemory`). Properties draw other cases in
 * every run, but where a seed is given: CI gives one, so that red means the change.
 */
import fc from 'fast-check'

process.env.RATATOSKR_CHECK_MEMORY ??= '1'

const seed = process.env.RATATOSKR_PROPERTY_SEED
if (seed !== undefined) fc.configureGlobal({ seed: Number(seed) })
