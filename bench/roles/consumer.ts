/** Reads batches through the public client, and checks every message. */
import { type BatchSubscription, type ClientBatch, connect } from 'ratatoskr/client'
import { serveBatchConsumer } from '../harness/consumer-role.ts'
import { credentialsOf } from '../harness/credentials.ts'

export interface ConsumerSetup {
  readonly url: string
  /** Shown to a broker that asks for one. */
  readonly token?: string | undefined
  readonly topic: string
  readonly payloadBytes: number
  readonly subscribers: number
}

serveBatchConsumer(async ({ url, topic, token }: ConsumerSetup, take) => {
  const client = await connect(url, credentialsOf(token))
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
