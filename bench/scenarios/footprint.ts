/** `footprint`: the built program with all transports: how soon it takes the first message, and its memory when idle. */
import { join } from 'node:path'
import { builtProgram, builtTransports } from '../harness/built.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { residentMegabytes } from '../harness/resident.ts'
import type { Scenario } from '../harness/scenario.ts'
import { freePort, ServerProcess } from '../harness/server-process.ts'
import { sleep } from '../harness/stream.ts'

const idleMs = 2_000
const topic = 'bench'

export const footprint: Scenario = {
  name: 'footprint',
  about: '`ratatoskr serve` as it is built: start to first accepted publish over HTTP, memory when idle',
  async run(options) {
    const figures = new Figures()
    // Once for nothing: compiled modules are kept from the first start on.
    await inFolder(options.directory, (directory) => measure(new Figures(), directory))
    for (let run = 1; run <= options.runs; run++) {
      await inFolder(options.directory, (directory) => measure(figures, directory))
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

async function measure(figures: Figures, directory: string): Promise<void> {
  const ports = await Promise.all(builtTransports.map(freePort))
  const http = ports[builtTransports.indexOf('http')]
  const flags = builtTransports.flatMap((transport, place) => [`--${transport}-port`, String(ports[place])])
  const settings = ['--directory', join(directory, 'data'), '--log-level', 'error']
  const beginMs = performance.now()
  await using server = ServerProcess.spawned({
    command: process.execPath,
    args: [builtProgram(), 'serve', ...flags, ...settings],
    port: http,
    address: '',
  })
  while (!(await publishes(http))) {
    server.assertRunning()
    await sleep(2)
  }
  const startMs = performance.now() - beginMs
  await sleep(idleMs)
  figures.add('from the start of the process to the first accepted publish', 'ms', startMs, { atMost: 400 })
  figures.add('resident when idle, all transports', 'MB', await residentMegabytes(server.pid, 'VmRSS'), {
    atMost: 90,
  })
  figures.add('resident at most', 'MB', await residentMegabytes(server.pid, 'VmHWM'))
}

async function publishes(port: number): Promise<boolean> {
  try {
    const url = `http://127.0.0.1:${port}/v1/topics/${topic}/messages`
    const headers = { 'content-type': 'application/octet-stream' }
    const response = await fetch(url, { method: 'POST', body: 'first', headers })
    await response.body?.cancel()
    return response.ok
  } catch {
    return false // nobody listens yet
  }
}
