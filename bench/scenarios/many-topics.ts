/** `many-topics`: how long a start takes with thousands of topics on disk, and how much memory they need. */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { RestartableServer } from '../harness/restartable.ts'
import type { Scenario } from '../harness/scenario.ts'
import type { Memory } from '../roles/server.ts'

const bytesPerMegabyte = 1e6

export const manyTopics: Scenario = {
  name: 'many-topics',
  about: 'start with --topics on disk after a clean stop and after SIGKILL, and memory',
  async run({ directory, topics, runs, progress }) {
    const figures = new Figures()
    await inFolder(directory, async (path) => {
      await using server = new RestartableServer({ storage: 'disk', directory: path, topicsMax: topics + 10 })
      await server.start()
      const beginMs = performance.now()
      await server.ask('fillTopics', topics)
      figures.add(`making ${topics} topics with a message each`, 's', (performance.now() - beginMs) / 1_000)
      const add = async (way: string) => {
        const { startMs } = await server.start()
        const { rssBytes } = (await server.ask('memory')) as Memory
        figures.add(`${topics} topics, start after ${way}`, 's', startMs / 1_000, { atMost: 5 })
        figures.add(`${topics} topics, resident after ${way}`, 'MB', rssBytes / bytesPerMegabyte, {
          atMost: 400,
        })
      }
      for (let run = 1; run <= runs; run++) {
        if (run > 1) await server.ask('fillTopics', topics)
        await server.kill()
        await add('SIGKILL')
        await server.stop()
        await add('a clean stop')
        progress(`run ${run} of ${runs} done`)
      }
    })
    return figures.report(this.name, 'disk')
  },
}
