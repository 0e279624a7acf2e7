/** Publishing and handling in one process: single messages, whole batches, and single ones at a fixed rate. */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import {
  type Findings,
  type Latency,
  latencyOf,
  MessageChecker,
  MessageMaker,
  nowMs,
} from '../../src/cli/bench/messages.ts'
import { pace } from '../../src/cli/bench/pace.ts'
import { BatchRing, recordsFor } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'

export interface EmbeddedLoad {
  readonly payloadBytes: number
  readonly batchBytes: number
  readonly seconds: number
}

export interface EmbeddedRate {
  readonly messagesPerSecond: number
  readonly latencyMs: Latency
  readonly findings: Findings
}

const MIB = 1024 * 1024
/** Publishes between two waits for the last of them: as many as a busy turn of a program makes. */
const burst = 256
const batchesInFlight = 8
const settleMsMax = 5_000

serveRole({
  single: (load: EmbeddedLoad) => single(load),
  batches: (load: EmbeddedLoad) => batches(load),
  paced: ({ perSecond, ...load }: EmbeddedLoad & { perSecond: number }) => paced(load, perSecond),
})

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function started(topic: string): Promise<EmbeddedBroker> {
  const broker = await createBroker({
    storage: memoryStorage(),
    platform: { logger: silentLogger },
    retentionIntervalMs: 50,
  })
  await broker.start()
  await broker.createTopic(topic, {
    retentionBytes: 128 * MIB,
    retentionMessages: -1,
    segmentBytes: 16 * MIB,
  })
  return broker
}

async function single({ payloadBytes, seconds }: EmbeddedLoad): Promise<EmbeddedRate> {
  await using broker = await started('single')
  const maker = new MessageMaker(payloadBytes)
  const checker = new MessageChecker(payloadBytes)
  await broker.subscribe('single', ({ payload }) => checker.take(payload))
  const publish = async (untilMs: number): Promise<void> => {
    while (performance.now() < untilMs) {
      for (let i = 1; i < burst; i++) void broker.publish('single', maker.copyOfNext())
      await broker.publish('single', maker.copyOfNext())
    }
  }
  await publish(performance.now() + seconds * 200)
  checker.windowBegin()
  await publish(performance.now() + seconds * 1_000)
  return await rateOf(checker, maker.count)
}

async function batches({ payloadBytes, batchBytes, seconds }: EmbeddedLoad): Promise<EmbeddedRate> {
  await using broker = await started('batches')
  const recordsPerBatch = recordsFor(batchBytes, payloadBytes)
  const ring = new BatchRing(2 * batchesInFlight, { payloadBytes, recordsPerBatch })
  let handled = 0
  const subscription = await broker.batches('batches')
  const reading = (async () => {
    for await (const batch of subscription) {
      for (const record of batch.records())
        if (record.valueEnd - record.valueStart === payloadBytes) handled++
    }
  })()
  let sent = 0
  const publish = async (untilMs: number): Promise<void> => {
    while (performance.now() < untilMs) {
      const last = Array.from({ length: batchesInFlight }, () =>
        broker.publishBatch('batches', 0, ring.next()),
      )
      sent += batchesInFlight * recordsPerBatch
      await Promise.all(last)
      while (sent - handled > 4 * batchesInFlight * recordsPerBatch) await turn()
    }
  }
  await publish(performance.now() + seconds * 200)
  const before = handled
  const beginMs = performance.now()
  await publish(beginMs + seconds * 1_000)
  const messagesPerSecond = ((handled - before) * 1_000) / (performance.now() - beginMs)
  await settled(() => handled === sent)
  await subscription.close()
  await reading
  const none = { duplicated: 0, disordered: 0, damaged: 0 }
  return {
    messagesPerSecond,
    latencyMs: latencyOf(new Float64Array(0)),
    findings: { received: handled, lost: sent - handled, ...none },
  }
}

async function paced({ payloadBytes, seconds }: EmbeddedLoad, perSecond: number): Promise<EmbeddedRate> {
  await using broker = await started('paced')
  const maker = new MessageMaker(payloadBytes)
  const checker = new MessageChecker(payloadBytes, 1)
  await broker.subscribe('paced', ({ payload }) => checker.take(payload))
  const clock = new WatchedClock()
  const publishFor = (ms: number): Promise<number> => {
    const untilMs = performance.now() + ms
    const turn = () => clock.next(perSecond, checker.received === maker.count)
    return pace({ perSecond, nowMs, turn, stopped: () => performance.now() >= untilMs }, (dueMs) => {
      void broker.publish('paced', maker.makeDue(dueMs))
    })
  }
  await publishFor(seconds * 1_000)
  checker.windowBegin()
  await publishFor(seconds * 1_000)
  return await rateOf(checker, maker.count)
}

/** A turn of the event loop takes longer than a message: so often it has one, and in between only what is settled goes on. */
const turnEveryMs = 5
const nothing = Promise.resolve()

/** Pacing by watching the clock: a message is late only when it, or one before, was held up. */
class WatchedClock {
  #turnedMs = 0

  /**
   * While messages are under way, promises go on. When all are handled, nothing waits but the pacer: it looks at the clock for
   * part of a pause without one, for promises that nobody needs would be the most of all garbage, and its collection the delay.
   */
  next(perSecond: number, allHandled: boolean): Promise<void> {
    if (performance.now() - this.#turnedMs >= turnEveryMs) return this.#turn()
    if (allHandled) {
      const untilMs = performance.now() + 100 / perSecond
      while (performance.now() < untilMs);
    }
    return nothing
  }

  async #turn(): Promise<void> {
    await turn()
    this.#turnedMs = performance.now()
  }
}

/** Waits until everything is handled, or will never be. */
async function settled(done: () => boolean): Promise<void> {
  const untilMs = performance.now() + settleMsMax
  while (!done() && performance.now() < untilMs) await turn()
}

async function rateOf(checker: MessageChecker, sent: number): Promise<EmbeddedRate> {
  const { messages, seconds, latencyMs } = checker.windowEnd()
  await settled(() => checker.received >= sent)
  return { messagesPerSecond: messages / seconds, latencyMs, findings: checker.findings(sent) }
}
