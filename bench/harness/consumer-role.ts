/** What all consumers share: checking, telling how far they are, and waiting for the last message. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import type { ClientBatch } from 'ratatoskr/client'
import { batchSizeOf, crcOf, crcStart } from 'ratatoskr/ports'
import { notifyParent, serveRole } from './child.ts'
import { type Findings, MessageChecker, type Window } from './messages.ts'

interface ConsumerSetup {
  readonly payloadBytes: number
}

/** How often the parent hears how many messages came. */
const noticeMs = 5
/** A consumer to whom nothing more comes for so long has what it will ever get. */
const silenceMs = 5_000

/**
 * Serves a consumer.
 * @param begin connects, and reads in the background: `take` is to be called with every batch. Resolves when reading has begun
 */
export function serveConsumer<Setup extends ConsumerSetup>(
  begin: (setup: Setup, take: (batch: ClientBatch) => void) => Promise<{ readonly done: Promise<void> }>,
): void {
  let checker = new MessageChecker(0)
  let failed: unknown
  serveRole({
    start: async (setup: Setup) => {
      checker = new MessageChecker(setup.payloadBytes)
      const take = taker(checker)
      const { done } = await begin(setup, take)
      done.catch((error) => {
        failed = error
      })
    },
    windowBegin: () => checker.windowBegin(),
    window: (): Window => checker.windowEnd(),
    finish: async (sent: number): Promise<Findings> => {
      let seen = checker.received
      let seenMs = performance.now()
      while (checker.received < sent && performance.now() - seenMs < silenceMs) {
        if (failed !== undefined) throw failed
        await new Promise((resolve) => setTimeout(resolve, 10))
        if (checker.received === seen) continue
        seen = checker.received
        seenMs = performance.now()
      }
      return checker.findings(sent)
    },
  })
}

/** Checks whole batches: the checksum of each, then its records. */
function taker(checker: MessageChecker): (batch: ClientBatch) => void {
  const { checksum } = nodePlatform()
  let toldMs = 0
  return (batch) => {
    const { bytes } = batch
    for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
      const end = at + batchSizeOf(bytes, at)
      if (checksum(bytes.subarray(at + crcStart, end)) !== crcOf(bytes, at)) checker.damagedBatch()
    }
    checker.open(bytes)
    for (const record of batch.records()) checker.check(record)
    const nowMs = performance.now()
    if (nowMs - toldMs < noticeMs) return
    toldMs = nowMs
    notifyParent('received', checker.received)
  }
}
