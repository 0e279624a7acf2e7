/** What all consumers share: checking, telling how far they are, and waiting for the last message. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import type { ClientBatch } from 'ratatoskr/client'
import { checkBatches } from '../../src/cli/bench/check-batch.ts'
import { addUp, type Findings, latencyOf, MessageChecker, type Window } from '../../src/cli/bench/messages.ts'
import { notifyParent, serveRole } from './child.ts'

interface ConsumerSetup {
  readonly payloadBytes: number
  /** Subscriptions in this process, each with a connection of its own: each is to get everything. */
  readonly subscribers: number
  /** Each message has a time of its own, and is a sample of the latency. */
  readonly everyTimed?: boolean
}

/** Reading that has begun. */
interface Reading {
  /** Resolves with the reason when it fails, and never otherwise. */
  readonly failed: Promise<unknown>
}

type Begin<Setup, Took> = (setup: Setup, take: (took: Took) => void) => Promise<Reading>

/** Looking at the clock for each message would cost too much: of single ones, so many go by between two looks. */
const messagesPerLook = 64
/** How often the parent hears how many messages came. */
const noticeMs = 5
/** A consumer to whom nothing more comes for so long has what it will ever get. */
const silenceMs = 5_000

/**
 * Serves a consumer of batches.
 * @param begin connects, and reads in the background: `take` is to be called with every batch. Resolves when reading has begun
 */
export const serveBatchConsumer = <Setup extends ConsumerSetup>(begin: Begin<Setup, ClientBatch>): void =>
  serveConsumer(begin, checksBatches, 1)

/** Serves a consumer of single messages: `take` is to be called with every payload. */
export const serveMessageConsumer = <Setup extends ConsumerSetup>(begin: Begin<Setup, Uint8Array>): void =>
  serveConsumer(begin, (checker) => (payload: Uint8Array) => checker.take(payload), messagesPerLook)

function serveConsumer<Setup extends ConsumerSetup, Took>(
  begin: Begin<Setup, Took>,
  check: (checker: MessageChecker) => (took: Took) => void,
  takesPerLook: number,
): void {
  let checkers: readonly MessageChecker[] = []
  let failure: unknown
  /** What the slowest has. */
  const received = (): number => Math.min(...checkers.map((checker) => checker.received))
  let toldMs = 0
  let takes = 0
  const tell = (): void => {
    if (++takes % takesPerLook !== 0) return
    const nowMs = performance.now()
    if (nowMs - toldMs < noticeMs) return
    toldMs = nowMs
    notifyParent('received', received())
  }
  serveRole({
    start: async (setup: Setup) => {
      const { payloadBytes, subscribers, everyTimed = false } = setup
      const perSample = everyTimed ? 1 : undefined
      checkers = Array.from({ length: subscribers }, () => new MessageChecker(payloadBytes, perSample))
      for (const checker of checkers) {
        const take = check(checker)
        const reading = await begin(setup, (took) => {
          take(took)
          tell()
        })
        void reading.failed.then((reason) => {
          failure ??= reason
        })
      }
    },
    windowBegin: () => {
      for (const checker of checkers) checker.windowBegin()
    },
    window: (): Window => {
      const windows = checkers.map((checker) => checker.windowEnd())
      return {
        messages: windows.reduce((sum, { messages }) => sum + messages, 0),
        seconds: windows[0].seconds,
        latencyMs: latencyOf(Float64Array.from(checkers.flatMap((checker) => [...checker.samples]))),
      }
    },
    finish: async (sent: number): Promise<Findings> => {
      let seen = received()
      let seenMs = performance.now()
      while (seen < sent && performance.now() - seenMs < silenceMs) {
        if (failure !== undefined) throw failure
        await new Promise((resolve) => setTimeout(resolve, 10))
        if (received() === seen) continue
        seen = received()
        seenMs = performance.now()
      }
      return addUp(checkers.map((checker) => checker.findings(sent)))
    },
  })
}

function checksBatches(checker: MessageChecker): (batch: ClientBatch) => void {
  const { checksum } = nodePlatform()
  return (batch) => checkBatches(checker, batch, checksum)
}
