/** Preloaded (`node --import`) by processes that are to run with the planted bug that `RATATOSKR_PLANTED` names. */
import { plant } from './planted.ts'
import { plantedBugs } from './planted-bugs.ts'

const name = process.env.RATATOSKR_PLANTED
// Every variable with this prefix is configuration to the command, which refuses what it does not know.
delete process.env.RATATOSKR_PLANTED
const bug = plantedBugs.find((one) => one.name === name)
if (bug === undefined) throw new Error(`no planted bug is called ${JSON.stringify(name)}`)
plant(bug)
