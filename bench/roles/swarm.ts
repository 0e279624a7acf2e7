/** Many subscribers in one process, each with a connection of its own. They count what comes, or take nothing at all. */
import { type BatchSubscription, connect } from 'ratatoskr/client'
import { serveRole } from '../harness/child.ts'

export interface SwarmSetup {
  readonly url: string
  readonly topic: string
  readonly subscribers: number
  /** Subscribes, and never takes what comes. */
  readonly stalled: boolean
}

export interface SwarmCount {
  /** Of the subscriber that has the fewest. */
  readonly least: number
  readonly total: number
  /** Offsets that some subscriber was not given. */
  readonly missing: number
}

/** Connections that are opened at the same time: more would wait in the queue of the server's socket. */
const openingMax = 64

const counts: number[] = []
let missing = 0
let failure: unknown

serveRole({
  start: async ({ url, topic, subscribers, stalled }: SwarmSetup) => {
    let left = subscribers
    const lane = async () => {
      while (left-- > 0) {
        const client = await connect(url, { timeoutMs: 30_000 })
        const subscription = await client.batches(topic, { from: 'latest' })
        const place = counts.push(0) - 1
        if (!stalled) void count(subscription, place)
      }
    }
    await Promise.all(Array.from({ length: openingMax }, lane))
  },
  counted: (): SwarmCount => {
    if (failure !== undefined) throw failure
    return { least: Math.min(...counts), total: counts.reduce((sum, one) => sum + one, 0), missing }
  },
})

async function count(subscription: BatchSubscription, place: number): Promise<void> {
  let next: number | undefined
  try {
    for await (const { fromOffset, nextOffset } of subscription) {
      missing += fromOffset - (next ?? fromOffset)
      next = nextOffset
      counts[place] += nextOffset - fromOffset
    }
  } catch (error) {
    failure ??= error
  }
}
