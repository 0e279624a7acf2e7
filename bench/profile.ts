/** `npm run profile -- <scenario>`: one run with a CPU profile of the broker, which is left, and its hottest functions. */
import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exitCodeOf, parseFlags, UsageError } from './flags.ts'
import { type CpuProfile, hottest } from './harness/profile.ts'

const functionsShown = 10

process.exitCode = await exitCodeOf(async () => {
  const { scenario, options } = parseFlags(process.argv.slice(2))
  const directory = options.profileDirectory ?? (await mkdtemp(join(tmpdir(), 'ratatoskr-profile-')))
  const before = new Set(await profilesIn(directory))
  await scenario.run({ ...options, runs: 1, peers: false, profileDirectory: directory })
  const made = (await profilesIn(directory)).filter((name) => !before.has(name))
  if (made.length === 0)
    throw new UsageError(`${scenario.name} makes no profile: it has no broker of its own`)
  for (const name of made) {
    const file = join(directory, name)
    console.log(file)
    const profile = JSON.parse(await readFile(file, 'utf8')) as CpuProfile
    for (const { name, place, percent } of hottest(profile, functionsShown)) {
      console.log(`${String(percent).padStart(6)} %  ${name.padEnd(28)} ${place}`)
    }
  }
  return 0
})

/** The directory is made with the first profile. */
async function profilesIn(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => [])
  return names.filter((name) => name.endsWith('.cpuprofile'))
}
