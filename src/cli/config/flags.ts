/** Configuration from the flags of the command line: the layer that wins. */
import { pair } from '../connection.ts'
import { type LoadedConfig, loadConfig } from './load.ts'
import type { Setting } from './settings.ts'

/** The flags of `serve` and its relatives, as commander gives them. */
export interface ConfigFlags {
  readonly config?: string
  readonly storage?: string
  readonly directory?: string
  readonly grpcPort?: string
  readonly httpPort?: string
  readonly websocketPort?: string
  readonly tcpPort?: string
  readonly unixPath?: string
  readonly host?: string
  readonly insecure?: boolean
  readonly logLevel?: string
  readonly workers?: string
  readonly set?: readonly string[]
}

const transports = ['grpc', 'http', 'websocket', 'tcp']

function settingsOfFlags(flags: ConfigFlags): Setting[] {
  const settings: Setting[] = []
  const add = (flag: string, value: string | undefined, ...paths: string[][]): void => {
    if (value === undefined) return
    for (const path of paths) settings.push({ path, value, origin: `flag --${flag}`, text: true })
  }
  add('storage', flags.storage, ['storage', 'kind'])
  add('directory', flags.directory, ['storage', 'directory'])
  for (const transport of transports) {
    add(`${transport}-port`, flags[`${transport}Port` as keyof ConfigFlags] as string | undefined, [
      transport,
      'port',
    ])
    add('host', flags.host, [transport, 'host'])
    add('insecure', flags.insecure === true ? 'true' : undefined, [transport, 'insecure'])
  }
  add('unix-path', flags.unixPath, ['unix', 'path'])
  add('workers', flags.workers, ['workers'])
  add('log-level', flags.logLevel, ['log', 'level'])
  for (const text of flags.set ?? []) {
    const [key, value] = pair('--set', text)
    add(`set ${key}`, value, key.split('.'))
  }
  return settings
}

/** The configuration of this process: files of the working directory, its environment, and `flags`. */
export const loadConfigOf = (flags: ConfigFlags): Promise<LoadedConfig> =>
  loadConfig({
    directory: process.cwd(),
    environment: process.env,
    file: flags.config,
    flags: settingsOfFlags(flags),
  })
