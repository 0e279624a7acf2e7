/**
 * h2spec, a client that tries what RFC 9113 and RFC 7541 ask of a server of HTTP/2, frame by frame: what our own server does
 * is held to it, case by case. It is built from the sources that h2spec/go.mod and its checksums name.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cached, installTimeoutMs, run } from './commands.ts'

const tool = 'github.com/summerwind/h2spec/cmd/h2spec'
/** Ours, so that headers that are well-formed are answered. */
const path = '/grpc.health.v1.Health/Check'
/** How long a case waits for what it expects. */
const caseTimeoutSeconds = 3
const runTimeoutMs = 90_000

const noBody = 'it asks for a body by GET, which gRPC answers with headers alone'
const withdrawn = "RFC 9113 has withdrawn RFC 7540's priorities"

/** What no server of gRPC can be held to, by section and case. */
const exceptions: readonly (readonly [of: string, why: string])[] = [
  ['generic/2 Sends a WINDOW_UPDATE frame on half-closed (remote) stream', noBody],
  ['generic/2 Sends a PRIORITY frame on half-closed (remote) stream', noBody],
  ['http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE', noBody],
  ['http2/6.9.1 Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame', noBody],
  ['http2/6.9.2 Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame', noBody],
  ['http2/6.9.2 Sends a SETTINGS frame for window size to be negative', noBody],
  [
    'http2/5.1.2 Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded',
    'it takes streams for open that are answered at once, and so are over',
  ],
  ['http2/5.3.1 Sends HEADERS frame that depend on itself', withdrawn],
  ['http2/5.3.1 Sends PRIORITY frame that depend on itself', withdrawn],
]

interface SpecCase {
  readonly name: string
  /** Why it failed; empty when it passed. */
  readonly failure: string
}

interface SpecResult {
  readonly cases: readonly SpecCase[]
  /** What it is not held to, with the reasons. */
  readonly excepted: readonly string[]
}

/** Builds it, unless it is built. @returns how to run it */
export async function buildSpec(goVersion: string): Promise<string> {
  const source = join(import.meta.dirname, 'h2spec')
  const parts = await Promise.all(['go.mod', 'go.sum'].map((name) => readFile(join(source, name), 'utf8')))
  const directory = await cached('h2spec', [goVersion, ...parts], async (bin) => {
    const args = ['build', '-trimpath', '-buildvcs=false', '-o', join(bin, 'h2spec'), tool]
    await run({ file: 'go', args }, installTimeoutMs, source)
  })
  return join(directory, 'h2spec')
}

/** @param directory for its report @throws Error when it made none */
export async function runSpec(file: string, target: string, directory: string): Promise<SpecResult> {
  const { hostname, port } = new URL(`http://${target}`)
  const report = join(directory, 'report.xml')
  const args = ['--strict', '-h', hostname, '-p', port, '-P', path, '-o', String(caseTimeoutSeconds)]
  // It fails when a case does, and so always: the exceptions.
  const failed = await run({ file, args: [...args, '-j', report] }, runTimeoutMs).catch(
    (error: Error) => error,
  )
  const text = await readFile(report, 'utf8').catch(() => {
    throw failed
  })
  return heldTo(casesOf(text))
}

/** The cases of a report of JUnit's form. */
function casesOf(report: string): SpecCase[] {
  const elements = report.matchAll(
    /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g,
  )
  return Array.from(elements, ([, section, title, inside]) => ({
    name: textOf(`${section} ${title}`),
    failure: textOf(inside.replaceAll(/<skipped>/g, 'it did not run').replaceAll(/<[^>]*>/g, ' ')).trim(),
  }))
}

function heldTo(all: readonly SpecCase[]): SpecResult {
  const excepted = new Map(exceptions)
  const cases = all.filter(({ name }) => !excepted.has(name))
  for (const [name] of exceptions) {
    if (all.some((each) => each.name === name)) continue
    cases.push({ name, failure: 'it is among the exceptions, and there is no such case' })
  }
  return { cases, excepted: exceptions.map(([name, why]) => `${name}: ${why}`) }
}

const textOf = (xml: string): string =>
  xml
    .replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll(/&#x([\da-f]+);/gi, (_, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
    .replaceAll(/\s+/g, ' ')
