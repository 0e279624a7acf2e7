/** Publishes one message at a time, with pauses, and tells how soon it was answered: accepted or refused. */
import { type Client, connect, isRatatoskrError } from 'ratatoskr/client'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { BatchRing } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'

export interface ProberSetup {
  readonly url: string
  readonly topic: string
  readonly payloadBytes: number
}

export interface ProberWindow {
  readonly answeredMs: Latency
  readonly refused: number
  readonly refusedMs: Latency
}

const pauseMs = 5
let answeredMs: number[] = []
let refusedMs: number[] = []

serveRole({
  start: async ({ url, topic, payloadBytes }: ProberSetup) => {
    void probe(await connect(url), topic, new BatchRing(2, { payloadBytes, recordsPerBatch: 1 }))
  },
  windowBegin: () => {
    answeredMs = []
    refusedMs = []
  },
  window: (): ProberWindow => ({
    answeredMs: latencyOf(Float64Array.from(answeredMs)),
    refused: refusedMs.length,
    refusedMs: latencyOf(Float64Array.from(refusedMs)),
  }),
})

/** `publishBatch` is the one way to publish that the client does not repeat by itself when it is refused. */
async function probe(client: Client, topic: string, batches: BatchRing): Promise<void> {
  for (;;) {
    const beginMs = performance.now()
    try {
      await client.publishBatch(topic, 0, batches.next())
      answeredMs.push(performance.now() - beginMs)
    } catch (error) {
      if (!isRatatoskrError(error, 'RTK_OVERLOADED')) throw error
      refusedMs.push(performance.now() - beginMs)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
