/** What the tests of queue groups share: a client that is a member of a group, and the broker's side of it. */
import { BatchBuilder, portableCrc32c, utf8 } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'
import type { HandlerOptions, MessageHandler, Subscription } from '../subscription.ts'
import type { FakeMember } from './fake-queue.ts'
import { setup } from './subscribing.ts'

/** A subscription of the group `g`, and the member that it is at the broker. */
export async function joined(
  handler: MessageHandler | undefined,
  options: HandlerOptions = {},
  partitions = 1,
) {
  const bench = await setup(partitions)
  const { client, broker } = bench
  const all = { group: 'g', ...options }
  const subscription: Subscription =
    handler === undefined
      ? await client.subscribe('orders', all)
      : await client.subscribe('orders', handler, all)
  return {
    ...bench,
    subscription,
    member: broker.members[0],
    latest: () => broker.members.at(-1) as FakeMember,
  }
}

const builder = new BatchBuilder({ checksum: portableCrc32c })

/** Messages `key=text`, or `text` without a key; `text@5` expires when it is 5. */
export function keyedBatch(...texts: string[]): Uint8Array {
  for (const text of texts) {
    const [key, rest] = text.includes('=') ? text.split('=') : [undefined, text]
    const [payload, expiresAt] = rest.split('@')
    builder.add({
      key: key === undefined ? undefined : utf8(key),
      payload: utf8(payload),
      timestampMs: 1,
      expiresAtMs: expiresAt === undefined ? undefined : Number(expiresAt),
    })
  }
  return builder.build()
}

/** A handler whose calls the test ends one by one, by the text of the message. */
export function heldHandler() {
  const begun: string[] = []
  const open = new Map<string, { resolve(): void; reject(reason: unknown): void; message: ClientMessage }>()
  const handler: MessageHandler = (message) => {
    const text = message.text()
    begun.push(text)
    return new Promise<void>((resolve, reject) => open.set(text, { resolve, reject, message }))
  }
  return { handler, begun, of: (text: string) => open.get(text)! }
}
