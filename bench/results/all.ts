/** `npm run bench -- all`: runs the plan, each scenario in a process of its own, goes on after a failed one, and says how long each took. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { AllAsked } from '../flags.ts'
import { alone, type Planned, plan } from './plan.ts'

const main = fileURLToPath(new URL('../main.ts', import.meta.url))

/** Each leaves its report in the directory, as `NAME.json`. @returns 0 when all ran, 1 otherwise */
export async function runAll({ flags, directory, only }: AllAsked): Promise<number> {
  await mkdir(directory, { recursive: true })
  const took: string[] = []
  let failed = 0
  const beginMs = performance.now()
  for (const one of plan.filter(({ name }) => only?.includes(name) ?? !alone.includes(name))) {
    const startMs = performance.now()
    const code = await runOne(one, flags, join(directory, `${one.name}.json`))
    if (code !== 0) failed++
    const verdict = code === 0 ? '' : `  ended with ${code}`
    took.push(`${one.name.padEnd(32)} ${secondsSince(startMs).padStart(6)} s${verdict}`)
    console.error(`${took[took.length - 1]}\n`)
  }
  console.error(`${took.join('\n')}\n${'all'.padEnd(32)} ${secondsSince(beginMs).padStart(6)} s`)
  return failed === 0 ? 0 : 1
}

const secondsSince = (ms: number): string => ((performance.now() - ms) / 1_000).toFixed(0)

/** How one is run by itself: the arguments of `npm run bench --`. */
export const argumentsOf = ({ scenario, flags }: Planned, common: readonly string[]): readonly string[] => [
  scenario,
  ...common,
  ...flags,
]

async function runOne(one: Planned, flags: readonly string[], json: string): Promise<number> {
  const args = argumentsOf(one, flags)
  console.error(`npm run bench -- ${args.join(' ')}`)
  const child = spawn(process.execPath, [...process.execArgv, main, ...args, '--json', json], {
    stdio: ['ignore', 'ignore', 2],
  })
  // Whoever ends this process ends what it runs.
  const end = (): void => void child.kill()
  process.once('exit', end)
  const [code] = (await once(child, 'exit')) as [number | null]
  process.off('exit', end)
  return code ?? 1
}
