/** Reads batches through the public client, and checks every message. */
import { type BatchSubscription, type ClientBatch, connect } from 'ratatoskr/client'
import { serveBatchConsumer } from '../harness/consumer-role.ts'

export interface ConsumerSetup {
  readonly url: string
  readonly topic: string
  readonly payloadBytes: number
  readonly subscribers: number
}

serveBatchConsumer(async ({ url, topic }: ConsumerSetup, take) => {
  const client = await connect(url)
  const reading = readAll(await client.batches(topic, { from: 'earliest' }), take)
  return {
    failed: reading.then(
      () => new Error('the subscription is over'),
      (error) => error,
    ),
  }
})

async function readAll(batches: BatchSubscription, take: (batch: ClientBatch) => void): Promise<void> {
  for await (const batch of batches) take(batch)
}
