/** `ratatoskr serve` in a process of its own, in memory, with one transport and as many workers as are asked for. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Client, connect } from 'ratatoskr/client'
import { freePort, ServerProcess } from './server-process.ts'

const command = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const transports = ['tcp', 'grpc', 'http', 'websocket']

/** @param profileDirectory gets a CPU profile of each thread when the broker ends */
export async function startServe(
  transport: 'tcp' | 'grpc',
  workers: number,
  profileDirectory?: string,
): Promise<ServerProcess> {
  const port = await freePort()
  const flags = ['--storage', 'memory', `--${transport}-port`, `${port}`, '--workers', `${workers}`]
  const others = transports
    .filter((name) => name !== transport)
    .flatMap((name) => ['--set', `${name}.enabled=false`])
  const profiled = profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`]
  const args = [...profiled, '--conditions=source', command, 'serve', ...flags, ...others]
  const address = `${transport}://127.0.0.1:${port}`
  return ServerProcess.start({ command: process.execPath, args, port, address })
}

/** Before it listens with its workers a broker looks whether the port is free, and so answers there for a moment. */
export async function connectedTo(url: string): Promise<Client> {
  for (let tries = 50; ; tries--) {
    try {
      return await connect(url)
    } catch (error) {
      if (tries === 0) throw error
      await sleep(100)
    }
  }
}
