/**
 * `ratatoskr serve` as it is built, in a process of its own: what memory a deployment takes. A broker that runs from the sources
 * has what strips their types with it, some 20 MB.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect } from 'ratatoskr/client'
import { type Kept, keptTopic, topic } from '../scenarios/ours.ts'
import type { ScenarioOptions } from './scenario.ts'
import { freePort, ServerProcess } from './server-process.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const program = join(root, 'dist/cli/main.js')
const schemes = { tcp: 'tcp', grpc: 'grpc', http: 'http', websocket: 'ws' } as const

export type BuiltTransport = keyof typeof schemes
export const builtTransports = Object.keys(schemes) as readonly BuiltTransport[]

/** The program's file. @throws Error when it is not built */
export function builtProgram(): string {
  if (!existsSync(program)) throw new Error('the program is not built: npm run build comes first')
  return program
}

/** Starts one with a single transport and the topic of the bench. @param directory a folder for the disk storage */
export async function startBuilt(
  { storage, durability }: Kept,
  transport: BuiltTransport,
  directory: string,
  { profileDirectory, verifyRecords }: ScenarioOptions,
): Promise<ServerProcess> {
  const port = await freePort()
  const profiled = profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`]
  const others = builtTransports.filter((name) => name !== transport).map((name) => `${name}.enabled=false`)
  const args = [
    ...[...profiled, builtProgram(), 'serve', '--storage', storage, '--directory', join(directory, 'data')],
    ...[`--${transport}-port`, String(port), '--log-level', 'error'],
    ...[...others, `verifyRecords=${verifyRecords}`].flatMap((setting) => ['--set', setting]),
  ]
  const address = `${schemes[transport]}://127.0.0.1:${port}`
  const server = await ServerProcess.start({ command: process.execPath, args, port, address })
  await using client = await connect(address)
  await client.createTopic(topic, { ...keptTopic, durability })
  return server
}

/** A program that has a broker in it, and nothing else. */
const embedding = `
  import { createBroker } from 'ratatoskr'
  import { memoryStorage } from 'ratatoskr/adapters/memory'
  const broker = await createBroker({ storage: memoryStorage() })
  await broker.start()
  await broker.createTopic('bench')
  globalThis.gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  console.log(process.memoryUsage.rss())
  await broker.stop()
`

/** What such a program has resident, in megabytes of 1,048,576 bytes, once what loading has left is collected. */
export async function residentEmbedded(): Promise<number> {
  builtProgram()
  const flags = ['--expose-gc', '--input-type=module', '--eval', embedding]
  const { stdout } = await promisify(execFile)(process.execPath, flags, { cwd: root })
  return Number(stdout) / 1024 / 1024
}
