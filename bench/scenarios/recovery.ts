/**
 * `recovery`: how long a start takes after a kill, and after a clean stop, with what is in the log already. The broker's own
 * figure (from the start of opening the storage until it is usable), and that of whoever waits for the process.
 */
import { recordsFor } from '../harness/batches.ts'
import { type Asked, Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { Fill, ServerSetup, ServerStarted } from '../roles/server.ts'

interface Case {
  readonly name: string
  readonly payloadBytes: number
  /** How many times the scenario's number of messages. */
  readonly times: number
  readonly askedAfterKill: Asked
}

const topic = 'bench'
const cases: readonly Case[] = [
  { name: 'messages of 1 KiB', payloadBytes: 1024, times: 1, askedAfterKill: { atMost: 1_000 } },
  { name: 'messages of 100 B', payloadBytes: 100, times: 10, askedAfterKill: { atMost: 2_000 } },
  { name: 'messages of 256 B', payloadBytes: 256, times: 1, askedAfterKill: { atMost: 5_000 } },
]
const askedAfterStop = { atMost: 300 }

export const recovery: Scenario = {
  name: 'recovery',
  about:
    'start after SIGKILL and after a clean stop, with --messages of 1 KiB, of 256 B, and ten times as many of 100 B',
  async run(options) {
    const figures = new Figures()
    for (const one of cases) {
      await inFolder(options.directory, (path) => measure(figures, one, path, options))
      options.progress(`${one.name}: done`)
    }
    return figures.report(this.name, 'disk')
  },
}

/** Fills a directory once; every run then writes a little more, so that there is something to recover, and restarts it. */
async function measure(figures: Figures, one: Case, path: string, options: ScenarioOptions): Promise<void> {
  const { payloadBytes, times, askedAfterKill } = one
  const messages = options.messages * times
  const name = `${messages.toLocaleString('en')} ${one.name}`
  const fill: Fill = {
    topic,
    messages,
    payloadBytes,
    recordsPerBatch: recordsFor(options.batchBytes, payloadBytes),
    inFlight: 16,
    durability: 'interval',
  }
  let expected = 0
  const checked = (found: number) => {
    if (found < expected)
      throw new Error(`${name}: ${expected} messages were acknowledged, ${found} are there`)
    expected = found
  }
  let killed = await started(path)
  const config = { durability: 'os', retentionMessages: -1, retentionBytes: -1 }
  await killed.server.ask('createTopic', { topic, config })
  await killed.server.ask('fill', fill)
  expected = messages
  for (let run = 1; run <= options.runs; run++) {
    if (run > 1) await killed.server.ask('fill', { ...fill, messages: Math.ceil(messages / 100) })
    await killed.server.kill()
    const stopped = await started(path)
    checked(await endOffsetOf(stopped.server))
    figures.add(`${name}, after SIGKILL: broker ready`, 'ms', stopped.startMs, askedAfterKill)
    figures.add(`${name}, after SIGKILL: process ready`, 'ms', stopped.processMs)
    await stopped.server.ask('stop')
    await stopped.server[Symbol.asyncDispose]()
    killed = await started(path)
    checked(await endOffsetOf(killed.server))
    figures.add(`${name}, after a clean stop: broker ready`, 'ms', killed.startMs, askedAfterStop)
    figures.add(`${name}, after a clean stop: process ready`, 'ms', killed.processMs)
    figures.add('start of Node itself', 'ms', killed.nodeMs)
    figures.add('loading the program', 'ms', killed.loadMs)
  }
  await killed.server[Symbol.asyncDispose]()
}

interface Started extends ServerStarted {
  readonly server: BenchProcess
  readonly processMs: number
}

async function started(directory: string): Promise<Started> {
  const beginMs = performance.now()
  const server = new BenchProcess('server')
  const found = (await server.ask('start', {
    storage: 'disk',
    directory,
  } satisfies ServerSetup)) as ServerStarted
  return { ...found, server, processMs: performance.now() - beginMs }
}

const endOffsetOf = async (server: BenchProcess): Promise<number> =>
  (await server.ask('endOffset', topic)) as number
