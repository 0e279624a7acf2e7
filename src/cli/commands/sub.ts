/** `ratatoskr sub`: prints messages as they come; in a group, acknowledges what was printed. */

import type { ClientMessage } from '../../client/client-message.ts'
import { messageToJson, type Overflow, type OverflowPolicy, type Sharing } from '../../ports/index.ts'
import { type ConnectionOptions, wholeNumber, withClient } from '../connection.ts'
import { type OutputFormat, write } from '../output.ts'
import { positionOf } from '../position.ts'

interface SubOptions extends ConnectionOptions {
  readonly group?: string
  readonly sharing?: string
  readonly from?: string
  readonly count?: string
  readonly partition?: string
  readonly overflow?: string
}

const lineFeed = Uint8Array.of(0x0a)

export const sub = (topic: string, options: SubOptions): Promise<void> =>
  withClient(options, async (client) => {
    const count =
      options.count === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--count', options.count, 1)
    const subscription = await client.subscribe(topic, {
      group: options.group,
      sharing: options.sharing as Sharing | undefined, // the broker checks the word
      from: options.from === undefined ? undefined : positionOf('--from', options.from),
      partitions:
        options.partition === undefined ? undefined : [wholeNumber('--partition', options.partition, 0)],
      overflow: options.overflow === undefined ? undefined : overflowOf(options.overflow),
      onGap: ({ partition, expectedOffset, offset }) =>
        process.stderr.write(
          `ratatoskr: ${offset - expectedOffset} messages of partition ${partition} are missing, from offset ${expectedOffset} on\n`,
        ),
    })
    const stop = () => void subscription.close()
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
    try {
      await print(subscription, count, options.output)
    } finally {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
    }
    await subscription.close()
  })

/** Reads `policy` or `policy:messages`; the broker checks the word. @throws RTK_INVALID_ARGUMENT */
function overflowOf(text: string): Overflow {
  const [policy, messages] = text.split(':', 2)
  const messagesMax = messages === undefined ? undefined : wholeNumber('--overflow', messages, 1)
  return { policy: policy as OverflowPolicy, messagesMax }
}

async function print(
  messages: AsyncIterable<ClientMessage>,
  count: number,
  output: OutputFormat,
): Promise<void> {
  let seen = 0
  for await (const message of messages) {
    await write(
      process.stdout,
      output === 'table' ? line(message.payload) : `${JSON.stringify(messageToJson(message, 'base64'))}\n`,
    )
    // Printed is done: without this, leaving the loop at the last message would leave it unacknowledged.
    await message.ack()
    if (++seen >= count) break
  }
}

function line(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(payload.length + 1)
  bytes.set(payload)
  bytes.set(lineFeed, payload.length)
  return bytes
}
