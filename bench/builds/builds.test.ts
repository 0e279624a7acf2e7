/** The command that compares two builds, with builds that measure nothing and report what they are told to. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bench as ended } from '../short-runs.ts'
import type { BuildsReport } from './paired.ts'
import { commitOf, treeOf } from './tree.ts'

const run = promisify(execFile)
let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-builds-test-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** The command to its end, whatever that is. */
const bench = (args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  ended(args).then(
    (outcome) => ({ ...outcome, code: 0 }),
    (failed: { code: number; stdout: string; stderr: string }) => failed,
  )

/** The bench of a build that reports so many messages a second, each time one more. */
const fakeBench = (perSecond: number): string => `
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
const args = process.argv.slice(2)
appendFileSync('runs', args[0] + '\\n')
const runs = readFileSync('runs', 'utf8').split('\\n').length
if (args[0] === 'broken') { console.error('it broke'); process.exit(1) }
writeFileSync(args[args.indexOf('--json') + 1], JSON.stringify({
  scenario: args[0], messagesPerSecond: ${perSecond} + runs, secondsPerRun: 1, brokerMicroseconds: 2,
  latencyMs: { p50: 1000 / ${perSecond} }, processes: { broker: { cpuSeconds: 1 }, producer: { cpuSeconds: 2 } },
}))
`

async function fakeTree(name: string, perSecond: number): Promise<string> {
  const path = join(directory, name)
  await mkdir(join(path, 'bench'), { recursive: true })
  await writeFile(join(path, 'bench/main.ts'), fakeBench(perSecond))
  await writeFile(join(path, 'package.json'), '{"type":"module"}')
  return path
}

describe('compare-builds', () => {
  it('runs both in turns, and ends with 1 when the second is worse', async () => {
    const [before, after] = [await fakeTree('before', 1_000), await fakeTree('after', 500)]
    const json = join(directory, 'report.json')
    const flags = ['--rounds', '6', '--before', before, '--after', after, '--json', json]
    const { code, stdout } = await bench(['compare-builds', ...flags, '--worse', '20', 'quick'])
    expect(code).toBe(1)
    expect(stdout).toMatch(/messages a second +100\d \/s +504\.5 \/s .* 6 of 6 +0\.016 +WORSE\n/)
    const [{ scenario, findings }] = JSON.parse(await readFile(json, 'utf8')) as BuildsReport[]
    expect(scenario).toBe('quick')
    expect(findings.map(({ figure, verdict }) => [figure, verdict])).toEqual([
      ['messages a second', 'worse'],
      ['latency p50', 'worse'],
      ["broker's processor time a message", 'same'],
      ["all processes' processor time a message", 'worse'],
    ])
    for (const tree of [before, after]) {
      expect(await readFile(join(tree, 'runs'), 'utf8')).toBe('quick\n'.repeat(6))
    }
  })

  it('ends with 0 when it is not', async () => {
    const [before, after] = [await fakeTree('slow', 500), await fakeTree('quick', 1_000)]
    const flags = ['--rounds', '6', '--before', before, '--after', after]
    expect((await bench(['compare-builds', ...flags, 'one', 'other'])).code).toBe(0)
  })

  it('says what a build says that fails', async () => {
    const tree = await fakeTree('failing', 500)
    const { code, stderr } = await bench(['compare-builds', '--before', tree, '--after', tree, 'broken'])
    expect(code).toBe(1)
    expect(stderr).toContain('broken of')
    expect(stderr).toContain('it broke')
  })

  it.each([
    [[], 'takes the scenarios'],
    [['--rounds', '5', 'x'], '--rounds must be a whole number of at least 6'],
    [['--worse', '0', 'x'], '--worse must be'],
    [['--seconds', '0', 'x'], '--seconds takes'],
    [['--before', 'no-such-revision', 'x'], 'neither a tree with a bench nor a commit'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await bench(['compare-builds', ...args])
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})

describe('the tree of a commit', () => {
  it('has what was committed, with the dependencies that are installed, and is removed', async () => {
    const source = await fakeTree('repository', 1)
    const git = (...args: string[]) =>
      run('git', ['-C', source, '-c', 'user.name=t', '-c', 'user.email=t', ...args])
    await mkdir(join(source, 'node_modules/installed'), { recursive: true })
    await writeFile(join(source, 'package-lock.json'), '{}')
    await git('init', '-q')
    await git('add', 'bench', 'package.json', 'package-lock.json')
    await git('commit', '-q', '--no-gpg-sign', '-m', 'first')
    await writeFile(join(source, 'bench/main.ts'), 'changed')
    const tree = await treeOf('HEAD', source)
    expect(await readFile(join(tree.path, 'bench/main.ts'), 'utf8')).toBe(fakeBench(1))
    expect(await readdir(join(tree.path, 'node_modules'))).toEqual(['installed'])
    expect(tree.name).toMatch(/^[0-9a-f]{12}$/)
    await tree[Symbol.asyncDispose]()
    await expect(readdir(tree.path)).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await commitOf('HEAD^', source)).toBeUndefined()
    expect(await readdir(join(source, 'node_modules'))).toEqual(['installed'])
  })
})
