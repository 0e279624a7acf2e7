/** `npm run bench -- results DIR`: writes `bench/RESULTS.md` from the reports in a folder. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { plan } from './plan.ts'
import { type AnyReport, type Reasons, resultsOf } from './render.ts'

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** @throws Error when the folder holds none of the plan's reports, or one that cannot be read */
export async function writeResults(directory: string, target = file('../RESULTS.md')): Promise<void> {
  const reports = new Map<string, AnyReport>()
  let lastMs = 0
  for (const { name } of plan) {
    const path = join(directory, `${name}.json`)
    const text = await readFile(path, 'utf8').catch(nothingWhereThereIsNone)
    if (text === undefined) continue
    reports.set(name, JSON.parse(text) as AnyReport)
    lastMs = Math.max(lastMs, (await stat(path)).mtimeMs)
  }
  if (reports.size === 0)
    throw new Error(`${directory} holds no report of the plan, such as ${plan[0].name}.json`)
  const reasons = JSON.parse(await readFile(file('reasons.json'), 'utf8')) as Reasons
  const day = new Date(lastMs).toISOString().slice(0, 10)
  await writeFile(target, resultsOf({ reports, reasons, day }))
  for (const { name } of plan) if (!reports.has(name)) console.error(`${name} was not measured`)
}

function nothingWhereThereIsNone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
