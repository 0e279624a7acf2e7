/** Reads batches through the public client, and checks every message. */
import { type BatchSubscription, connect } from 'ratatoskr/client'
import { serveConsumer } from '../harness/consumer-role.ts'

export interface ConsumerSetup {
  readonly url: string
  readonly topic: string
  readonly payloadBytes: number
}

serveConsumer(async ({ url, topic }: ConsumerSetup, take) => {
  const client = await connect(url)
  return { done: readAll(await client.batches(topic, { from: 'earliest' }), take) }
})

async function readAll(
  batches: BatchSubscription,
  take: Parameters<Parameters<typeof serveConsumer>[0]>[1],
): Promise<void> {
  for await (const batch of batches) take(batch)
}
