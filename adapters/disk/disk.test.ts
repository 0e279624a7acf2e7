import { type KnownGap, logStoreContract, stateStoreContract } from 'ratatoskr/contract-tests'
import { diskLogSetup, diskStateSetup } from './testing/setups.ts'

const gap = (reason: string, ...tests: readonly string[]): readonly KnownGap[] =>
  tests.map((test) => ({ test, reason }))

const knownGaps = [
  ...gap(
    'a damaged log is refused as a whole',
    'a damaged batch in an old segment is refused by its offsets, and all others are served',
    'a damaged batch in the segment that is written is refused by its offsets, and all others are served',
    'a damaged log goes on: appends, restarts, further damage and letting go',
    'times are found around a damaged batch',
  ),
  ...gap(
    'nothing is counted yet',
    'counts appends that settled and their bytes, and no others',
    'counts each time that data is forced to the medium',
    'counts each read by where its answer came from, and what is held in memory',
  ),
]

logStoreContract('disk', () => diskLogSetup(), { knownGaps })
// Nothing stays in memory and hardly a file stays open: every read is a cold one.
logStoreContract('disk without a hot tail', () => diskLogSetup({ hotBytesMax: 1, openFilesMax: 1 }), {
  knownGaps,
})
stateStoreContract('disk', () => diskStateSetup())
