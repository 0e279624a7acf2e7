/**
 * `pub` and `sub` against a server of its own process: what goes in on one side comes out on the other, byte for byte. They are
 * processes where pipes and files make a difference, and run in this one elsewhere.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../../contract-tests/batteries/harness/run-command.ts'
import {
  cleanEnvironment,
  nodeArguments,
  ServerProcess,
} from '../../contract-tests/batteries/harness/server-process.ts'
import { runHere } from './testing/run-here.ts'

const pipeBytes = 64 * 1024
const words = ['ask', 'Yggdrasil', 'æsir', '松鼠', '🐿️', '\t', '"quoted"', 'a\\nb', '\r', ' ']
/** Lines of many lengths and scripts, empty ones among them, and one far longer than a pipe's buffer. */
const text = Buffer.from(
  Array.from({ length: 10_000 }, (_, i) =>
    i === 5_000
      ? `${'long '.repeat(60_000)}\n`
      : `${i % 97 === 0 ? '' : `${i} ${words[i % 10].repeat(i % 7)}`}\n`,
  ).join(''),
)

let directory: string
let server: ServerProcess

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-messages-'))
  server = await ServerProcess.start({ directory })
})

afterAll(async () => {
  await server.crash()
  await rm(directory, { recursive: true, force: true })
})

/** In this process, with the input in the pieces in which a pipe gives it. */
function here(args: readonly string[], { input = '' }: { readonly input?: Buffer | string } = {}) {
  const bytes = Buffer.from(input)
  const pieces = Math.ceil(bytes.length / pipeBytes)
  return runHere(args, {
    input: Array.from({ length: pieces }, (_, i) => bytes.subarray(i * pipeBytes, (i + 1) * pipeBytes)),
  })
}

const at = (scheme: string): string[] => ['--url', server.urls[scheme], '--timeout', '15000']

describe('pub and sub', () => {
  it.each([
    ['grpc', 'ws'],
    ['ws', 'http'],
    ['http', 'grpc'],
  ])('10,000 lines in over %s come out over %s, byte for byte', async (from, to) => {
    const topic = `lines.${from}`
    // Once through pipes; the protocols differ in nothing that a pipe sees.
    const run = from === 'grpc' ? runCommand : here
    const published = await run(['pub', topic, ...at(from)], { input: text })
    expect(published).toMatchObject({ code: 0, stderr: `pub ${topic}: 10000 messages published\n` })
    const printed = await run(['sub', topic, '--from', 'earliest', '-n', '10000', ...at(to)])
    expect([printed.code, printed.stderr]).toEqual([0, ''])
    expect(Buffer.compare(printed.stdout, text)).toBe(0)
  })

  it('print what an overflow policy lets through, and refuse one without its bound', async () => {
    await here(['pub', 'overflow', ...at('ws')], { input: text })
    const sub = (overflow: string) =>
      here(['sub', 'overflow', '--from', 'earliest', '-n', '1', '--overflow', overflow, ...at('ws')])
    expect(await sub('dropOldest:1000000')).toMatchObject({ code: 0, stderr: '' })
    const [unbounded, unknown] = [await sub('dropOldest'), await sub('spill:5')]
    expect([unbounded.code, unbounded.stderr]).toEqual([2, expect.stringContaining('needs a bound')])
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('RTK_INVALID_ARGUMENT')])
  })

  it('say which line failed and how many before it are published', async () => {
    const input = `${'x\n'.repeat(1_000)}${'y'.repeat(40 * 1024 * 1024)}\nz\n`
    const { code, stderr } = await here(['pub', 'halfway', ...at('grpc')], { input })
    expect(code).toBe(2)
    expect(stderr).toMatch(/RTK_MESSAGE_TOO_LARGE: line 1001: .*; 1000 messages are published\n$/)
    const printed = await here(['sub', 'halfway', '--from', 'earliest', '-n', '1000', ...at('grpc')])
    expect(printed.stdout.toString()).toBe('x\n'.repeat(1_000))
  })

  it('take no directory for an empty file', async () => {
    const stdin = openSync(directory, 'r')
    const child = spawn(process.execPath, [...nodeArguments, 'pub', 'nothing', ...at('grpc')], {
      env: cleanEnvironment(),
      stdio: [stdin, 'ignore', 'pipe'],
    })
    closeSync(stdin)
    expect(await endOf(child)).toEqual({
      code: 2,
      stderr: expect.stringContaining('stdin could not be read (EISDIR)'),
    })
  })

  it.runIf(existsSync('/dev/full'))('name the reason when stdout takes no more', async () => {
    await here(['pub', 'full', 'x', ...at('grpc')])
    const stdout = openSync('/dev/full', 'w')
    const args = ['sub', 'full', '--from', 'earliest', '-n', '1', ...at('grpc')]
    const child = spawn(process.execPath, [...nodeArguments, ...args], {
      env: cleanEnvironment(),
      stdio: ['ignore', stdout, 'pipe'],
    })
    closeSync(stdout)
    expect(await endOf(child)).toEqual({
      code: 1,
      stderr: 'ratatoskr: stdout could not be written (ENOSPC)\n',
    })
  })
})

async function endOf(child: ChildProcess): Promise<{ code: number | null; stderr: string }> {
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [code] = await once(child, 'close')
  return { code, stderr }
}
