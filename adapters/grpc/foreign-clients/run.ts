/**
 * Clients in other languages, generated from the .proto files as anybody does it, against a real broker:
 * `npm run test:foreign-clients -- --report foreign.json`.
 *
 * Needs python3 (with venv and pip) and go, and the package registries of both on the first run; what it installs stays
 * in `node_modules/.cache`. A language that is not here is skipped, with the reason. The stubs are generated anew each
 * time: a contract that other generators refuse fails here. Beside them runs h2spec, with go: see h2spec.ts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { Harness } from '../testing/harness.ts'
import { type Command, cached, installTimeoutMs, root, run } from './commands.ts'
import { buildSpec, runSpec } from './h2spec.ts'

const protoRoot = join(root, 'proto')
/** The generators of the Go stubs: the first as in go/go.mod, the second goes with its grpc. */
const goGenerators = [
  'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12',
  'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2',
]
const generateTimeoutMs = 60_000
const clientTimeoutMs = 60_000

/** What each client does, in this order. */
const cases = [
  'creates a topic',
  'publishes one message',
  'publishes a batch',
  'consumes a stream of messages by credit',
  'commits in a group',
  'fetches messages',
  'reads statistics',
  'reads the code of an error from the trailers',
  'publishes and subscribes by the legacy service',
]

interface Language {
  readonly name: string
  /** Prints the version; the language is skipped when it cannot be run. */
  readonly version: Command
  /** Generates and builds the client. @returns how to run it, but for the address */
  prepare(version: string, directory: string): Promise<Command>
}

interface CaseResult {
  readonly name: string
  readonly seconds: number
  readonly outcome: 'pass' | 'FAIL' | 'skip'
  readonly reason: string
}

const protoFiles = async (): Promise<string[]> =>
  (await readdir(protoRoot, { recursive: true })).filter((path) => path.endsWith('.proto'))

const python: Language = {
  name: 'python',
  version: { file: 'python3', args: ['-c', 'import sys, venv, ensurepip; print(sys.version)'] },
  async prepare(version, directory) {
    const source = join(import.meta.dirname, 'python')
    const requirements = join(source, 'requirements.txt')
    const parts = [version, await readFile(requirements, 'utf8')]
    const environment = await cached('python', parts, async (venv) => {
      await run({ file: 'python3', args: ['-m', 'venv', venv] }, installTimeoutMs)
      const args = ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '-r', requirements]
      await run({ file: join(venv, 'bin', 'python'), args }, installTimeoutMs)
    })
    const file = join(environment, 'bin', 'python')
    const outputs = [`--python_out=${directory}`, `--grpc_python_out=${directory}`]
    const args = ['-m', 'grpc_tools.protoc', `--proto_path=${protoRoot}`, ...outputs, ...(await protoFiles())]
    await run({ file, args }, generateTimeoutMs)
    return { file, args: [join(source, 'client.py')], env: { PYTHONPATH: directory } }
  },
}

const go: Language = {
  name: 'go',
  version: { file: 'go', args: ['version'] },
  async prepare(version, directory) {
    const generators = await cached('go', [version, ...goGenerators], async (bin) => {
      for (const generator of goGenerators) {
        await run({ file: 'go', args: ['install', generator], env: { GOBIN: bin } }, installTimeoutMs)
      }
    })
    await cp(join(import.meta.dirname, 'go'), directory, { recursive: true })
    // The .proto files name no Go package: like everybody who does not own them, the client says where they go.
    const override = [{ file_option: 'go_package_prefix', value: 'foreign/gen' }]
    const plugins = ['protoc-gen-go', 'protoc-gen-go-grpc'].map((local) => ({
      local,
      out: 'gen',
      opt: 'paths=source_relative',
    }))
    const template = JSON.stringify({ version: 'v2', managed: { enabled: true, override }, plugins })
    const args = ['generate', protoRoot, '--template', template, '--output', directory]
    const env = { PATH: [generators, process.env.PATH].join(delimiter) }
    await run({ file: join(root, 'node_modules', '.bin', 'buf'), args, env }, generateTimeoutMs)
    const build = ['build', '-trimpath', '-buildvcs=false', '-o', 'client', '.']
    await run({ file: 'go', args: build }, installTimeoutMs, directory)
    return { file: join(directory, 'client'), args: [] }
  },
}

const results: CaseResult[] = []

function note(name: string, begun: number, outcome: CaseResult['outcome'], reason = ''): void {
  const seconds = (performance.now() - begun) / 1000
  results.push({ name, seconds, outcome, reason })
  process.stdout.write(`${outcome}  ${name.padEnd(56)} ${seconds.toFixed(1).padStart(6)} s  ${reason}\n`)
}

/** Runs a client, a line of JSON a case. A case that it did not come to has failed. */
async function runClient(language: string, command: Command, target: string): Promise<void> {
  const child = spawn(command.file, [...command.args, target], {
    env: { ...process.env, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: clientTimeoutMs,
    killSignal: 'SIGKILL',
  })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const closed = once(child, 'close')
  let next = 0
  let begun = performance.now()
  for await (const line of createInterface({ input: child.stdout })) {
    const { failure } = JSON.parse(line) as { failure: string | null }
    note(`${language}: ${cases[next++]}`, begun, failure === null ? 'pass' : 'FAIL', failure ?? '')
    begun = performance.now()
  }
  await closed
  for (const name of cases.slice(next)) note(`${language}: ${name}`, begun, 'FAIL', 'the client ended before')
  if (next < cases.length) process.stderr.write(complaint)
}

async function testLanguage(language: Language, target: string): Promise<void> {
  const begun = performance.now()
  const names = [
    `${language.name}: generates and builds`,
    ...cases.map((name) => `${language.name}: ${name}`),
  ]
  const version = await run(language.version, generateTimeoutMs).catch(() => undefined)
  if (version === undefined) {
    for (const name of names) note(name, begun, 'skip', `${language.version.file} is not on this machine`)
    return
  }
  const directory = await mkdtemp(join(tmpdir(), `ratatoskr-${language.name}-`))
  try {
    const command = await language.prepare(version, directory)
    note(names[0], begun, 'pass')
    await runClient(language.name, command, target)
  } catch (error) {
    // The cases that are not noted by now were not run.
    const name = names.find((each) => results.every((result) => result.name !== each)) ?? language.name
    note(name, begun, 'FAIL', error instanceof Error ? error.message : String(error))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function testConformance(target: string): Promise<void> {
  const [begun, name] = [performance.now(), 'h2spec: builds and runs']
  const version = await run(go.version, generateTimeoutMs).catch(() => undefined)
  if (version === undefined) {
    note(name, begun, 'skip', `${go.version.file} is not on this machine`)
    return
  }
  const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-h2spec-'))
  try {
    const { cases, excepted } = await runSpec(await buildSpec(version), target, directory)
    note(name, begun, 'pass', `${cases.length} cases`)
    for (const each of excepted) process.stdout.write(`      not held to  ${each}\n`)
    for (const { name, failure } of cases)
      note(`h2spec: ${name}`, performance.now(), failure === '' ? 'pass' : 'FAIL', failure)
  } catch (error) {
    note(name, begun, 'FAIL', error instanceof Error ? error.message : String(error))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const { report } = parseArgs({ options: { report: { type: 'string' } } }).values
const harness = await Harness.start()
await Promise.all([
  ...[python, go].map((language) => testLanguage(language, harness.target)),
  testConformance(harness.target),
])
await harness.stop()

const count = (outcome: CaseResult['outcome']): number =>
  results.filter((result) => result.outcome === outcome).length
const totals = {
  numPassedTests: count('pass'),
  numFailedTests: count('FAIL'),
  numPendingTests: count('skip'),
}
process.stdout.write(
  `${totals.numPassedTests} passed, ${totals.numFailedTests} failed, ${totals.numPendingTests} skipped\n`,
)
if (report !== undefined) {
  await writeFile(report, `${JSON.stringify({ ...totals, cases: results }, null, 2)}\n`)
}
process.exitCode = totals.numFailedTests > 0 ? 1 : 0
