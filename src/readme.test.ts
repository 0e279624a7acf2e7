/**
 * The README and the guides show what there is: their code is type-checked and run, what they say it prints is compared,
 * and their tables are held against the code.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { status } from '@grpc/grpc-js'
import type { Command } from 'commander'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { statusOf as grpcStatusOf } from '../adapters/grpc/status.ts'
import { statusOf as httpStatusOf } from '../adapters/http/problem.ts'
import { settingsOfEnvironment } from './cli/config/environment.ts'
import { exitCodeOf } from './cli/exit-codes.ts'
import { buildProgram } from './cli/program.ts'
import { connect } from './client/index.ts'
import { defaultLimits, durabilityLevels, type ErrorCode, errorCodes, RatatoskrError } from './ports/index.ts'
import { type CodeBlock, printsAsShown, type Section, sectionsOf, tableOf } from './testing/document.ts'
import { type Addresses, GuideProject, type Outcome } from './testing/guide-project.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')

const guides = globSync(
  '{README.md,{src,adapters,plugins,proto,contract-tests,bench,examples}/**/README.md}',
  {
    cwd: root,
    exclude: ['**/node_modules/**'],
  },
).sort()
const readme = textOf('README.md')

interface Runnable {
  readonly guide: string
  readonly section: Section
  /** A folder of its own within the project. */
  readonly folder: string
}

const runnable: readonly Runnable[] = guides.flatMap((guide) =>
  sectionsOf(textOf(guide)).map((section, i) => ({
    guide,
    section,
    folder: `${dirname(guide).replaceAll('/', '-').replace('.', 'top')}-${i}`,
  })),
)

const clientPrelude = `import { connect } from 'ratatoskr/client'
const client = await connect('grpc://127.0.0.1:50051')
`
const clientEnd = 'await client.close()\n'
const staysOn = 'goes on until it is stopped'

const fileOf = ({ directive, line, language }: CodeBlock): string =>
  /^file: (\S+)$/.exec(directive)?.[1] ?? `line-${line}.${language}`

/** What a script's file holds: ports that guides name become free ones. */
function scriptOf({ code, directive }: CodeBlock, addresses: Addresses | undefined): string {
  const whole = directive === 'with a client' ? `${clientPrelude}${code}${clientEnd}` : code
  return moved(whole, addresses).replace(/\bport: (50051|8080|8081|7282)\b/g, 'port: 0')
}

function moved(text: string, addresses: Addresses | undefined): string {
  return Object.entries(addresses ?? {}).reduce((all, [shown, real]) => all.replaceAll(shown, real), text)
}

const needsBroker = ({ blocks }: Section): boolean =>
  blocks.some(
    ({ code, directive, language }) =>
      directive === 'with a client' ||
      (language !== 'yaml' && /127\.0\.0\.1:(50051|8080|8081|7282)|npx ratatoskr/.test(code)),
  )

const isTest = (block: CodeBlock): boolean => fileOf(block).endsWith('.test.ts')
const hasCurl = spawnSync('curl', ['--version']).status === 0

let project: GuideProject
/** One broker for all guides: to start one for each section takes longer than most of them. */
let broker: Promise<Addresses> | undefined
beforeAll(async () => {
  project = await GuideProject.make(root)
})
afterEach(forgetTopics)
afterAll(() => project.remove())

/** The next section finds the broker as a reader does, without a topic. */
async function forgetTopics(): Promise<void> {
  if (broker === undefined) return
  const client = await connect(`grpc://${(await broker)['127.0.0.1:50051']}`)
  try {
    for (const { name } of await client.listTopics()) await client.deleteTopic(name)
  } finally {
    await client.close()
  }
}

async function runBlock(block: CodeBlock, folder: string, addresses: Addresses | undefined): Promise<void> {
  const name = fileOf(block)
  const path = join(folder, name)
  const { output, directive } = block
  const enough =
    directive === staysOn ? (stdout: string) => printsAsShown(stdout, output as string) : undefined
  switch (block.language) {
    case 'ts':
    case 'js': {
      const file = await project.write(path.replace(/\.js$/, '.mjs'), scriptOf(block, addresses))
      if (isTest(block)) return // all of them are run together
      if (!directive.startsWith('file: ')) assertOutcome(await project.script(file, enough), block)
      return
    }
    case 'sh': {
      if (/^npm /.test(block.code)) return assertScriptsExist(block.code)
      const url = `grpc://${addresses?.['127.0.0.1:50051']}`
      return assertOutcome(await project.shell(moved(block.code, addresses), folder, url, enough), block)
    }
    case 'yaml': {
      const file = await project.write(path, block.code)
      assertDone(await project.command(['config', 'validate', '--config', file]))
      return
    }
    default:
      expect.fail(`line ${block.line}: blocks of ${block.language} are not run by any rule`)
  }
}

const assertDone = ({ exitCode, stdout, stderr }: Outcome): void =>
  expect(exitCode, `${stdout}${stderr}`).toBe(0)

function assertOutcome({ stdout, stderr, exitCode }: Outcome, block: CodeBlock) {
  const ended = block.directive === staysOn ? undefined : 0
  expect(exitCode, `line ${block.line} ended with ${exitCode}: ${stderr}${stdout}`).toBe(ended)
  if (block.output === undefined) expect(stdout, `line ${block.line}: the guide shows no output`).toBe('')
  else if (!printsAsShown(stdout, block.output)) expect(stdout.trim()).toBe(block.output.trim())
}

function assertScriptsExist(code: string): void {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
  for (const [, , name] of code.matchAll(/npm (run )?([\w:]+)/g)) {
    if (name !== 'ci') expect(Object.keys(scripts)).toContain(name)
  }
}

describe.each(guides)('%s', (guide) => {
  const sections = runnable.filter((one) => one.guide === guide)

  it.each(sections.map((one) => [one.section.title, one] as const))(
    '%s',
    async (_title, { section, folder }) => {
      if (!hasCurl && section.blocks.some(({ code }) => code.includes('curl '))) {
        console.warn(`${guide}: "${section.title}" is not run, for curl is not installed`)
        return
      }
      await project.write(join(folder, '.keep'), '')
      if (needsBroker(section)) broker ??= project.serve('broker')
      const addresses = needsBroker(section) ? await broker : undefined
      for (const block of section.blocks) await runBlock(block, folder, addresses)
    },
    60_000,
  )

  it('links to what exists', () => {
    const links = [...textOf(guide).matchAll(/\]\(([^)#]+)(#[^)]*)?\)/g)].map(([, target]) => target)
    const missing = links.filter(
      (target) => !/^https?:/.test(target) && !existsSync(join(root, dirname(guide), target)),
    )
    expect(missing).toEqual([])
  })

  it('names files that exist', () => {
    const named = [...textOf(guide).matchAll(/`([\w-]+(?:\/[\w.-]+)+)`/g)].map(([, path]) => path)
    const ours = named.filter((path) => /\.(ts|md|proto)$|^(src|adapters|plugins|examples)\//.test(path))
    const missing = ours.filter(
      (path) => ![root, join(root, dirname(guide))].some((from) => existsSync(join(from, path))),
    )
    expect(missing).toEqual([])
  })
})

async function writeScripts(sections: readonly Runnable[]): Promise<void> {
  for (const { section, folder } of sections) {
    for (const block of section.blocks) {
      if (block.language === 'ts')
        await project.write(join(folder, fileOf(block)), scriptOf(block, undefined))
    }
  }
}

it('tests in the guides pass', async () => {
  const tested = runnable.filter(({ section }) => section.blocks.some(isTest))
  expect(tested.length).toBeGreaterThan(1)
  await writeScripts(tested)
  const { exitCode, stdout, stderr } = await project.tool('vitest/vitest.mjs', ['run'])
  expect(exitCode, `${stdout}${stderr}`).toBe(0)
  for (const { folder } of tested) expect(stdout).toContain(`${folder}/`)
}, 60_000)

it('code in the guides is typed', async () => {
  await writeScripts(runnable)
  // With one checker, for several would check much twice.
  const { stdout } = await project.tool('typescript/bin/tsc', ['--noEmit', '-p', '.', '--checkers', '1'])
  const inGuides = stdout.split('\n').filter((line) => /^[\w-]+-\d+\//.test(line))
  expect(inGuides).toEqual([])
}, 60_000)

describe('README.md', () => {
  it('has a quick start of fewer than 20 lines, which is the example', () => {
    const quickStart = sectionsOf(readme).find(({ title }) => title === 'Quick start')?.blocks[0] as CodeBlock
    expect(quickStart.code.trimEnd().split('\n').length).toBeLessThan(20)
    const file = /^same as: (\S+)$/.exec(quickStart.directive)?.[1] as string
    expect(quickStart.code).toBe(textOf(file))
  })

  it('has the limits of the broker', () => {
    const shown = tableOf(readme, 'Limit').map(([name, value]) => [name, Number(value.replaceAll(',', ''))])
    expect(Object.fromEntries(shown)).toEqual(defaultLimits)
    expect(shown.length).toBe(Object.keys(defaultLimits).length)
  })

  it('has every error code, as the table of the code has it', () => {
    const shown = tableOf(readme, 'Code').map(([code, kind, retryable, summary]) => [
      code,
      { kind, retryable: retryable === 'yes', summary },
    ])
    const facts = Object.entries(errorCodes).map(([code, { kind, retryable, summary }]) => [
      code,
      { kind, retryable, summary: summary.replaceAll('`', '') },
    ])
    expect(shown).toEqual(facts)
  })

  it('maps kinds as the protocols do', () => {
    const codes = Object.entries(errorCodes) as [ErrorCode, { kind: string }][]
    const mapped = tableOf(readme, 'Kind').map(([kind, ...cells]) => {
      const code = codes.find(([, facts]) => facts.kind === kind)?.[0] as ErrorCode
      const error = new RatatoskrError(code, 'x')
      return [
        cells,
        [status[grpcStatusOf(error).code], String(httpStatusOf(error)), String(exitCodeOf(error))],
      ]
    })
    expect(mapped.map(([shown]) => shown)).toEqual(mapped.map(([, real]) => real))
    expect(new Set(tableOf(readme, 'Kind').map(([kind]) => kind))).toEqual(
      new Set(codes.map(([, { kind }]) => kind)),
    )
  })

  it('has the short names of the environment', () => {
    const shown = tableOf(readme, 'Variable')
    const real = shown.map(([variable]) => settingsOfEnvironment({ [variable]: '1' })[0]?.path.join('.'))
    expect(shown.map(([, key]) => key)).toEqual(real)
    expect(shown.length).toBeGreaterThan(5)
  })

  it('has the durability levels', () => {
    expect(tableOf(readme, 'Level').map(([level]) => level)).toEqual(durabilityLevels)
  })

  it('names options and commands that exist, and every command', () => {
    const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)]
    const commands = all(buildProgram())
    const options = new Set(['--help', ...commands.flatMap((one) => one.options.map(({ long }) => long))])
    const named = [...readme.matchAll(/`(--[a-z-]+)/g)].map(([, option]) => option)
    expect(named.filter((option) => !options.has(option))).toEqual([])
    expect(named.length).toBeGreaterThan(8)
    const missing = buildProgram().commands.filter((one) => !new RegExp(`\`${one.name()}[ \`]`).test(readme))
    expect(missing.map((one) => one.name())).toEqual([])
  })
})

it.each([
  ['a\nb', 'a\nb', true],
  ['a 1 b', 'a … b', true],
  ['a 1\n2 b', 'a … b', false],
  ['a', 'a\nb', false],
])('%j is %j as shown: %j', (printed, shown, matches) => expect(printsAsShown(printed, shown)).toBe(matches))
