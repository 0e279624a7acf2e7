import { logStoreContract, stateStoreContract } from 'ratatoskr/contract-tests'
import { diskLogSetup, diskStateSetup } from './testing/setups.ts'

logStoreContract('disk', () => diskLogSetup())
// Nothing stays in memory and hardly a file stays open: every read is a cold one.
logStoreContract('disk without a hot tail', () => diskLogSetup({ hotBytesMax: 1, openFilesMax: 1 }))
stateStoreContract('disk', () => diskStateSetup())
