/** `ratatoskr doctor`: what may keep a broker from running here, each with what to do about it. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { dirname, resolve } from 'node:path'
import { portableCrc32c } from '../../ports/index.ts'
import { type ConfigFlags, loadConfigOf } from '../config/flags.ts'
import type { CompleteConfig } from '../config/schema.ts'
import { type ConnectionOptions, withClient } from '../connection.ts'
import { exitCodes } from '../exit-codes.ts'
import { printRows } from '../output.ts'
import { assertWorkers } from '../workers/worker-directories.ts'

interface Finding {
  readonly check: string
  readonly result: 'ok' | 'warning' | 'failure'
  readonly detail: string
}

const ok = (check: string, detail: string): Finding => ({ check, result: 'ok', detail })

export async function doctor(options: ConfigFlags & ConnectionOptions): Promise<void> {
  const findings: Finding[] = [ok('node', process.version), await checksumFinding()]
  const config = await loadConfigOf(options).then(
    (loaded) => loaded.config,
    (error: Error) => error,
  )
  if (config instanceof Error)
    findings.push({ check: 'configuration', result: 'failure', detail: config.message })
  else {
    findings.push(ok('configuration', 'valid'))
    if (config.storage.kind === 'disk') {
      const { directory } = config.storage
      findings.push(await directoryFinding(directory), await workersFinding(directory, config.workers))
    }
    findings.push(...(await portFindings(config)))
  }
  findings.push(await brokerFinding(options))
  await printRows(findings, ['check', 'result', 'detail'], options.output)
  if (findings.some(({ result }) => result === 'failure')) process.exitCode = exitCodes.failure
}

async function checksumFinding(): Promise<Finding> {
  const { nodeChecksum } = await import('ratatoskr/adapters/node')
  if (nodeChecksum() !== portableCrc32c) return ok('checksum', 'native CRC-32C')
  return { check: 'checksum', result: 'warning', detail: 'portable CRC-32C, slower; install @node-rs/crc32' }
}

/** The directory, or the nearest parent that exists, must take files. */
async function directoryFinding(directory: string): Promise<Finding> {
  const check = 'data directory'
  for (let path = resolve(directory); ; path = dirname(path)) {
    try {
      await access(path, constants.W_OK | constants.X_OK)
      return ok(check, path === resolve(directory) ? 'there, and writable' : 'will be created')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === dirname(path)) {
        return {
          check,
          result: 'failure',
          detail: `cannot be written (${(error as NodeJS.ErrnoException).code}); choose another or change its owner`,
        }
      }
    }
  }
}

/** A directory is of use only to as many workers as wrote it. */
async function workersFinding(directory: string, workers: number): Promise<Finding> {
  const check = 'workers'
  try {
    await assertWorkers(directory, workers)
    return ok(check, `${workers}`)
  } catch (error) {
    return { check, result: 'failure', detail: (error as Error).message }
  }
}

async function portFindings(config: CompleteConfig): Promise<Finding[]> {
  const transports = (['grpc', 'tcp', 'websocket', 'http'] as const).filter(
    (name) => config[name].enabled && config[name].port !== 0,
  )
  return Promise.all(
    transports.map(async (name): Promise<Finding> => {
      const { host, port } = config[name]
      const taken = await answers(host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host, port)
      return taken
        ? { check: `${name} port`, result: 'warning', detail: `${port} is in use: by the broker, if it runs` }
        : ok(`${name} port`, `${port} is free`)
    }),
  )
}

const answers = (host: string, port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connectSocket({ host, port })
    const settle = (taken: boolean) => {
      socket.destroy()
      done(taken)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })

async function brokerFinding(options: ConnectionOptions): Promise<Finding> {
  try {
    const stats = await withClient(options, (client) => client.brokerStats())
    return ok(
      'broker',
      `answers at ${options.url}: ${stats.topics} topics, up ${Math.round(stats.uptimeMs / 1000)} s`,
    )
  } catch (error) {
    return {
      check: 'broker',
      result: 'warning',
      detail: `does not answer at ${options.url}: ${(error as Error).message}`,
    }
  }
}
