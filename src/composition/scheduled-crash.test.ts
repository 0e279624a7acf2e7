/** Messages with a delivery time on a disk that loses its process or its power at every call: each comes, and comes once. */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { ManualClock, type SimulatedDisk, simulatedDisk } from 'ratatoskr/contract-tests'
import { messagesOf, type Session, utf8, utf8Text } from 'ratatoskr/ports'
import { expect, it } from 'vitest'

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const count = 6
const cancelled = 4

/** What stood on the disk at one call, and what publishers had been told by then. */
interface Moment {
  readonly disk: SimulatedDisk
  readonly nowMs: number
  readonly acked: readonly number[]
  readonly cancelAcked: boolean
}

async function brokerOn(
  disk: SimulatedDisk,
  clock: ManualClock,
): Promise<{ broker: EmbeddedBroker; session: Session }> {
  const broker = await createBroker({
    storage: diskStorage({ directory: '/data', fileSystem: disk, reserveBytes: 4_096 }),
    platform: { clock, logger: silent },
    retentionIntervalMs: 1_000_000_000,
  })
  await broker.start()
  const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
  return { broker, session: await broker.facade.connect(peer, { kind: 'none' }) }
}

/** Lets time pass in steps between which the disk has time to answer. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let at = 0; at < ms; at += 20) {
    await clock.advance(20)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}

async function delivered({ session }: { session: Session }): Promise<readonly string[]> {
  const found: string[] = []
  for (let offset = 0; ; ) {
    const { bytes, nextOffset, topicId } = await session.fetch('due', { partition: 0, offset })
    if (bytes.length === 0) return found
    const source = { topic: 'due', topicId, partition: 0, expansion: { codecs: new Map(), bytesMax: 1e6 } }
    for (const { payload } of messagesOf(bytes, source, offset)) found.push(utf8Text(payload))
    offset = nextOffset
  }
}

async function moments(): Promise<readonly Moment[]> {
  const disk = simulatedDisk()
  const clock = new ManualClock()
  const running = await brokerOn(disk, clock)
  await running.session.createTopic('due')
  const taken: Moment[] = []
  const acked: number[] = []
  let cancelAcked = false
  disk.onCall = () => {
    taken.push({ disk: disk.fork(), nowMs: clock.now(), acked: [...acked], cancelAcked })
  }
  for (let n = 0; n < count; n++) {
    const message = { payload: utf8(`${n}`), id: id(n), delayMs: 40 + 60 * (n % 3) }
    await running.session.publish('due', message)
    acked.push(n)
  }
  expect(await running.session.cancelScheduled('due', id(cancelled))).toBe(true)
  cancelAcked = true
  await pass(clock, 600)
  disk.onCall = undefined
  expect(await delivered(running)).toHaveLength(count - 1)
  return taken
}

it.each(['a kill', 'a power cut'])(
  '%s at every call of the disk',
  async (how) => {
    const taken = await moments()
    expect(taken.length).toBeGreaterThan(20)
    for (const [place, { disk, nowMs, acked, cancelAcked }] of taken.entries()) {
      const clock = new ManualClock(nowMs)
      const left = how === 'a kill' ? disk : disk.powerCut({ survival: 'nothing' })
      const running = await brokerOn(left, clock)
      await pass(clock, 400)
      const found = await delivered(running)
      const what = `${how} at call ${place}: ${found}`
      expect(new Set(found).size, what).toBe(found.length)
      expect(found, what).toEqual(expect.arrayContaining(acked.filter((n) => n !== cancelled).map(String)))
      if (cancelAcked) expect(found, what).not.toContain(String(cancelled))
      else if (acked.includes(cancelled)) expect(found.length, what).toBeGreaterThanOrEqual(acked.length - 1)
      await running.broker.stop().catch(() => {})
    }
  },
  60_000,
)
