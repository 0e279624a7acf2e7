/** Properties draw other cases in every run, but where a seed is given: CI gives one, so that red means the change. */
import fc from 'fast-check'

const seed = process.env.RATATOSKR_PROPERTY_SEED
if (seed !== undefined) fc.configureGlobal({ seed: Number(seed) })
