/**
 * `recovery`: how long a start takes after a kill, and after a clean stop, with what is in the log already. The broker's own
 * figure (from the start of opening the storage until it is usable), and that of whoever waits for the process.
 */
import { recordsFor } from '../harness/batches.ts'
import { type Asked, Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { RestartableServer } from '../harness/restartable.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { Fill } from '../roles/server.ts'

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
  await using server = new RestartableServer({ storage: 'disk', directory: path })
  await server.start()
  const config = { durability: 'os', retentionMessages: -1, retentionBytes: -1 }
  await server.ask('createTopic', { topic, config })
  await server.ask('fill', fill)
  const add = async (way: string, asked: Asked) => {
    const { startMs, processMs, nodeMs, loadMs } = await server.start()
    const found = (await server.ask('endOffset', topic)) as number
    if (found < messages) throw new Error(`${name}: ${messages} were acknowledged, ${found} are there`)
    figures.add(`${name}, after ${way}: broker ready`, 'ms', startMs, asked)
    figures.add(`${name}, after ${way}: process ready`, 'ms', processMs)
    figures.add('start of Node itself', 'ms', nodeMs)
    figures.add('loading the program', 'ms', loadMs)
  }
  for (let run = 1; run <= options.runs; run++) {
    if (run > 1) await server.ask('fill', { ...fill, messages: Math.ceil(messages / 100) })
    await server.kill()
    await add('SIGKILL', askedAfterKill)
    await server.stop()
    await add('a clean stop', askedAfterStop)
  }
}
