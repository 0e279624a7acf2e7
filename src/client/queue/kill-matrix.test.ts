/**
 * A member of a queue group that dies at every moment at which it can: before and after each call and each delivery. Once its
 * connection is cut and it joins again, once it dies as a whole and another takes over. However that goes, every message ends
 * acknowledged, what was confirmed never comes again, what comes again says so, and nobody's death counts against healthy messages.
 */
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import { createBroker } from '../../composition/create-broker.ts'
import type { EmbeddedBroker } from '../../composition/embedded-broker.ts'
import type { Sharing } from '../../ports/index.ts'
import { rounds } from '../../testing/rounds.ts'
import type { Client } from '../client.ts'
import type { ClientMessage } from '../client-message.ts'
import { clientOver } from '../connect-with.ts'
import { embeddedLink } from '../embedded.ts'
import type { Link } from '../link.ts'
import { openTcpLink } from '../links/tcp.ts'
import { Fate, mortalLink } from '../testing/mortal-link.ts'

const keys = ['k', 'l', undefined]
const messages = Array.from({ length: 12 }, (_, i) => ({
  key: keys[i % 3],
  text: `${keys[i % 3] ?? 'free'}-${i}`,
}))

interface World {
  readonly broker: EmbeddedBroker
  readonly clock: ManualClock
  readonly open: () => Promise<Link>
}

async function world(link: 'embedded' | 'TCP'): Promise<World> {
  const clock = new ManualClock()
  const transports = link === 'embedded' ? [] : [tcpTransport({ port: 0 })]
  const platform = { clock, logger: silentLogger }
  const broker = await createBroker({ storage: memoryStorage(), transports, platform })
  await broker.start()
  const open = async (): Promise<Link> => {
    if (link === 'TCP') {
      return openTcpLink(new URL(broker.addresses[0].url), {
        credentials: { kind: 'none' },
        platform: broker.platform,
        frameBytesMax: 1 << 24,
      })
    }
    const session = await broker.facade.connect(
      { transport: 'embedded', address: 'embedded', local: true, encrypted: false },
      { kind: 'none' },
    )
    return embeddedLink(session, new Promise(() => {}), clock)
  }
  return { broker, clock, open }
}

/** What happened to the messages, and what must not have. */
class Ledger {
  readonly confirmed = new Set<string>()
  readonly handled: string[] = []
  readonly wrong: string[] = []
  readonly #seen = new Set<string>()
  readonly #running = new Set<string>()

  begin(message: ClientMessage): void {
    const text = message.text()
    if (this.confirmed.has(text)) this.wrong.push(`${text} came again after it was confirmed`)
    if (this.#running.has(text)) this.wrong.push(`${text} is handled twice at once`)
    if (this.#seen.has(text) && !message.redelivered)
      this.wrong.push(`${text} came again and does not say so`)
    if (message.attempt > 4) this.wrong.push(`${text} came ${message.attempt} times`)
    // Only l-4 ever fails, which may take those behind it back: one death, at a first delivery, counts against nobody.
    if (message.attempt > 1 && !text.startsWith('l'))
      this.wrong.push(`${text} is attempt ${message.attempt}, and never failed`)
    this.#seen.add(text)
    this.#running.add(text)
  }

  end(text: string, handled: boolean): void {
    this.#running.delete(text)
    if (handled) this.handled.push(text)
  }

  /** Whoever handled them died. */
  forget(): void {
    this.#running.clear()
  }

  /** In the order in which a key's messages were done for the first time. */
  orderOf(key: string): string[] {
    return [...new Set(this.handled.filter((text) => text.startsWith(key)))]
  }
}

interface Death {
  readonly fate: Fate
  /** The client dies with its link. */
  readonly whole: boolean
}

/** Who handles: what becomes of a dead one's work is nobody's to know. */
interface Handling {
  readonly clock: ManualClock
  readonly ledger: Ledger
  isAlive(): boolean
  moment(name: string): void
}

/** One message fails at first, one takes longer than its lease. */
async function subscribe(client: Client, sharing: Sharing, handling: Handling): Promise<void> {
  const { clock, ledger, isAlive, moment } = handling
  const failedOnce = new Set<string>()
  const never = new Promise<never>(() => {})
  await client.subscribe(
    'orders',
    async (message) => {
      if (!isAlive()) return never
      const text = message.text()
      ledger.begin(message)
      moment('at the begin of a handler')
      await (text === 'l-7'
        ? new Promise<void>((resolve) => clock.after(31_000, resolve))
        : Promise.resolve())
      if (!isAlive()) return never
      moment('within a handler')
      if (!isAlive()) return never
      const fails = text.endsWith('4') && !failedOnce.has(text)
      failedOnce.add(text)
      ledger.end(text, !fails)
      if (fails) throw new Error('not yet')
      void message.ack().then(
        () => isAlive() && ledger.confirmed.add(text),
        () => {},
      )
      moment('at the end of a handler')
    },
    { group: 'g', sharing, concurrency: 2, maxInFlight: 5, retry: { kind: 'fixed', delayMs: 3 } },
  )
}

async function run(link: 'embedded' | 'TCP', sharing: Sharing, { fate, whole }: Death): Promise<Ledger> {
  const { broker, clock, open } = await world(link)
  const ledger = new Ledger()
  const own = await broker.client()
  await own.createTopic('orders', { partitions: 2 })
  for (const { key, text } of messages) await own.publish('orders', text, { key })
  let alive = true
  const reconnect = { baseMs: 1, maxMs: 2 }
  const openMortal = async (): Promise<Link> => {
    const mortal = mortalLink(await open(), fate)
    const die = fate.cut
    fate.cut = () => {
      if (whole) alive = false
      die()
    }
    return mortal
  }
  const platform = { ...broker.platform, clock }
  const client = await clientOver(openMortal, 1, { reconnect: whole ? false : reconnect }, platform)
  const opening = subscribe(client, sharing, {
    clock,
    ledger,
    isAlive: () => alive,
    moment: (name) => fate.moment(name),
  }).catch((error: unknown) => {
    if (!whole) throw error
  })
  let heir: Client | undefined
  const lag = async (): Promise<number> => {
    const description = await own.describeQueue('orders', 'g').catch(() => undefined)
    return description?.lag ?? messages.length
  }
  for (let turn = 0; turn < 500 && (await lag()) > 0; turn++) {
    if (!alive && heir === undefined) {
      ledger.forget()
      heir = await clientOver(open, 1, { reconnect }, platform)
      await subscribe(heir, sharing, { clock, ledger, isAlive: () => true, moment: () => {} })
    }
    await clock.advance(turn < 50 ? 2 : 500)
  }
  if (await lag()) ledger.wrong.push(`${await lag()} messages are left`)
  const done = Promise.all([opening, client.close({ timeoutMs: 50 }), heir?.close(), own.close()])
  for (let turn = 0; turn < 60; turn++) await clock.advance(1)
  await done
  const stopped = broker.stop()
  for (let turn = 0; turn < 10; turn++) await clock.advance(1)
  await stopped
  return ledger
}

/** How many moments lie between those one dies at. */
const cases = [
  ['embedded', 'partitioned', rounds(1, 3)],
  ['embedded', 'shared', rounds(1, 3)],
  ['embedded', 'keyShared', rounds(1, 3)],
  ['TCP', 'keyShared', rounds(5, 11)],
] as const

describe.each(cases)('over the %s link, in a %s group', (link, sharing, step) => {
  it.each([false, true])(
    'dying anywhere loses nothing (the whole client: %s)',
    async (whole) => {
      const calm = new Fate(undefined)
      const undisturbed = await run(link, sharing, { fate: calm, whole })
      expect(undisturbed.wrong).toEqual([])
      expect(undisturbed.handled.toSorted()).toEqual(messages.map(({ text }) => text).toSorted())
      expect(calm.moments.length).toBeGreaterThan(80)
      for (let at = 0; at < calm.moments.length; at += step) {
        const fate = new Fate(at)
        const ledger = await run(link, sharing, { fate, whole })
        const where = `cut at ${at}, ${fate.moments[at]}`
        expect(ledger.wrong, where).toEqual([])
        expect([...new Set(ledger.handled)].toSorted(), where).toEqual(
          messages.map(({ text }) => text).toSorted(),
        )
        if (sharing === 'shared') continue
        for (const key of ['k', 'l']) {
          const inOrder = messages.filter((one) => one.key === key).map(({ text }) => text)
          expect(ledger.orderOf(key), where).toEqual(inOrder)
        }
      }
    },
    60_000,
  )
})
