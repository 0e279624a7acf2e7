/**
 * Every scenario of the bench, shortly: `npm run test:bench -- --report bench.json`. That each runs, loses nothing and reports
 * what it promises; how fast it is says `npm run bench`. Wants the build of these sources, for the scenario that starts it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Battery, onInterrupt, parseOptions } from '../contract-tests/batteries/harness/battery.ts'
import { loadPeer } from './peers/index.ts'
import { scenarios } from './scenarios/index.ts'
import { assertPeers, assertProfile, assertServers, assertShortRun, shortRuns } from './short-runs.ts'

/** Long enough that something is measured on a busy machine, too. */
const seconds = ['--seconds', '0.5']
const { report } = parseOptions({ report: { type: 'string' } })
const battery = new Battery(report)
const directory = mkdtempSync(join(tmpdir(), 'ratatoskr-bench-battery-'))
const remove = (): void => rmSync(directory, { recursive: true, force: true })
onInterrupt(remove)

for (const { name } of scenarios) {
  await battery.run(name, async () => {
    const shortRun = shortRuns.find(({ scenario }) => scenario === name)
    if (shortRun === undefined) throw new Error('bench/short-runs.ts has no run of this scenario')
    await assertShortRun(shortRun, mkdtempSync(join(directory, 'run-')), seconds)
    return 'figure' in shortRun ? shortRun.figure : `beside ${shortRun.beside}`
  })
}
await battery.run('pingpong-tcp --peers', async () => {
  await assertPeers(directory)
  return 'aedes took part, nats-core is said to be missing'
})
/** Scenarios that together have all servers as peers, with a peer of each. */
const servers = {
  'pingpong-tcp': ['nats-core'],
  'stream-fsync-tcp': ['redis-always', 'rabbitmq-stream'],
} as const
for (const [scenario, names] of Object.entries(servers)) {
  const name = `${scenario} --peers, with servers`
  const versions = await Promise.all(names.map(async (peer) => (await loadPeer(peer)).version()))
  const absent = names.filter((_, place) => versions[place] === undefined)
  if (absent.length > 0) battery.skip(name, `the server of ${absent.join(' and ')} is not installed`)
  else await battery.run(name, async () => (await assertServers(scenario, directory)).join(', '))
}
await battery.run('npm run profile', async () => {
  await assertProfile(directory)
  return 'a profile, and ten functions'
})
remove()
await battery.finish()
