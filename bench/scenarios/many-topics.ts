/** `many-topics`: how long a start takes with thousands of topics on disk, and how much memory they need. */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario } from '../harness/scenario.ts'
import type { Memory, ServerSetup, ServerStarted } from '../roles/server.ts'

const bytesPerMegabyte = 1e6

export const manyTopics: Scenario = {
  name: 'many-topics',
  about: 'start with --topics on disk after a clean stop and after SIGKILL, and memory',
  async run({ directory, topics, runs, progress }) {
    const figures = new Figures()
    const setup = (path: string): ServerSetup => ({
      storage: 'disk',
      directory: path,
      topicsMax: topics + 10,
    })
    await inFolder(directory, async (path) => {
      let server = new BenchProcess('server')
      await server.ask('start', setup(path))
      const beginMs = performance.now()
      await server.ask('fillTopics', topics)
      figures.add(`making ${topics} topics with a message each`, 's', (performance.now() - beginMs) / 1_000)
      for (let run = 1; run <= runs; run++) {
        for (const way of ['SIGKILL', 'a clean stop']) {
          if (way === 'SIGKILL') {
            await server.ask('fillTopics', topics)
            await server.kill()
          } else {
            await server.ask('stop')
            await server[Symbol.asyncDispose]()
          }
          server = new BenchProcess('server')
          const { startMs } = (await server.ask('start', setup(path))) as ServerStarted
          const { rssBytes } = (await server.ask('memory')) as Memory
          figures.add(`${topics} topics, start after ${way}`, 's', startMs / 1_000, { atMost: 5 })
          figures.add(`${topics} topics, resident after ${way}`, 'MB', rssBytes / bytesPerMegabyte, {
            atMost: 400,
          })
        }
        progress(`run ${run} of ${runs} done`)
      }
      await server[Symbol.asyncDispose]()
    })
    return figures.report(this.name, 'disk')
  },
}
