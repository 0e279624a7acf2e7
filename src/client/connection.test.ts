import { silentLogger, systemRandom } from 'ratatoskr/adapters/node'
import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../ports/index.ts'
import { Connection } from './connection.ts'
import type { Link } from './link.ts'

/** A link whose calls stay under way until it is closed, and then end as links end them. */
class StubLink {
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #underWay: PromiseWithResolvers<never>[] = []
  calls = 0
  over = false

  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  call(): Promise<never> {
    this.calls++
    if (this.over) return Promise.reject(new RatatoskrError('RTK_CLOSED', 'over before the call'))
    const call = Promise.withResolvers<never>()
    this.#underWay.push(call)
    return call.promise
  }

  async close(): Promise<void> {
    this.over = true
    for (const call of this.#underWay) call.reject(new RatatoskrError('RTK_CLOSED', 'cut by close'))
  }

  /** The peer is gone, which one call alone has noticed so far. */
  loseOne(): void {
    this.#underWay.shift()?.reject(new RatatoskrError('RTK_DISCONNECTED', 'the socket broke'))
  }
}

async function connected(reconnect: false | object = {}) {
  const links: StubLink[] = []
  const connection = await Connection.open(
    {
      open: async () => {
        links.push(new StubLink())
        return links.at(-1) as unknown as Link
      },
      firstAttempts: 1,
      clock: new ManualClock(),
      random: systemRandom,
      logger: silentLogger,
      reconnect,
      connectTimeoutMs: 1_000,
      waitingMax: 10,
    },
    new AbortController().signal,
  )
  const use = (repeat = false) =>
    Promise.resolve(connection.use((link) => (link as unknown as StubLink).call(), undefined, repeat))
  return { connection, links, use }
}

describe('calls of a connection', () => {
  it('that were under way when another call noticed the loss are not made again: nobody knows what became of them', async () => {
    const { links, use, connection } = await connected()
    const [first, second] = [use(), use()]
    links[0].loseOne()
    await expect(first).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(second).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(links[0].calls).toBe(2)
    await connection.close()
  })

  it('that come to a link which is over already did nothing, and go to the next one', async () => {
    const { links, use, connection } = await connected()
    links[0].over = true
    const late = use()
    await expect(
      Promise.race([late, new Promise((resolve) => setImmediate(resolve, 'waits'))]),
    ).resolves.toBe('waits')
    expect(links[0].calls).toBe(1)
    await connection.close()
    await expect(late).rejects.toMatchObject({ code: 'RTK_CLOSED' })
  })

  it('fail with RTK_DISCONNECTED where a loss is the end, under way or on a link that is over already', async () => {
    for (const over of [false, true]) {
      const { links, use, connection } = await connected(false)
      const first = use()
      links[0].over = over
      const second = use()
      if (!over) links[0].loseOne()
      await expect(second).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
      await expect(first).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
      await expect(use()).rejects.toMatchObject({ code: 'RTK_CLOSED', cause: { code: 'RTK_DISCONNECTED' } })
      await connection.close()
    }
  })
})
