/** Messages that wait for their time: `ratatoskr scheduled …`, and what `pub --delay` and `pub --at` do with stdin. */
import type { Client } from '../../client/client.ts'
import type { MessageFields } from '../../client/outgoing.ts'
import { type Durability, RatatoskrError, toRatatoskrError } from '../../ports/index.ts'
import { type ConnectionOptions, wholeNumber, withClient } from '../connection.ts'
import { type Progress, printRows } from '../output.ts'

interface ListOptions extends ConnectionOptions {
  readonly count?: string
}

const pageMessages = 1_000

export const listScheduled = (topic: string, options: ListOptions): Promise<void> =>
  withClient(options, async (client) => {
    const count =
      options.count === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--count', options.count, 1)
    const rows: { id: string; deliverAt: string; deliverAtMs: number; sizeBytes: number }[] = []
    for (let after: string | undefined; rows.length < count; ) {
      const limit = Math.min(pageMessages, count - rows.length)
      const { messages, next } = await client.listScheduled(topic, { limit, after })
      for (const { id, deliverAtMs, sizeBytes } of messages) {
        rows.push({ id, deliverAt: new Date(deliverAtMs).toISOString(), deliverAtMs, sizeBytes })
      }
      if (next === undefined) break
      after = next
    }
    await printRows(rows, ['id', 'deliverAt', 'sizeBytes'], options.output)
  })

export const cancelScheduled = (topic: string, id: string, options: ConnectionOptions): Promise<void> =>
  withClient(options, async (client) => {
    const cancelled = await client.cancelScheduled(topic, id)
    process.stderr.write(cancelled ? `cancelled ${id}\n` : `no message ${id} waits in ${topic}\n`)
    if (!cancelled) process.exitCode = 1
  })

/** Where lines go, and what each is published with. */
export interface LaterPublish {
  readonly topic: string
  readonly durability: Durability | undefined
  readonly each: MessageFields
  readonly progress: Progress
}

const bytesAtOnce = 1024 * 1024

/** Publishes lines that are to be delivered later, many a request: no batch can say when. */
export async function publishLater(
  client: Client,
  { topic, durability, each, progress }: LaterPublish,
  lines: AsyncIterable<Uint8Array>,
): Promise<void> {
  let payloads: Uint8Array[] = []
  let bytes = 0
  let storedCount = 0
  const send = async (): Promise<void> => {
    const messages = payloads.map((payload) => ({ ...each, payload }))
    payloads = []
    bytes = 0
    const results = await client.publishMany(topic, messages, { durability })
    const failed = results.find((result) => 'error' in result)
    storedCount += results.filter((result) => !('error' in result)).length
    if (failed !== undefined && 'error' in failed) throw failed.error
    progress.update(`${storedCount} messages`)
  }
  try {
    for await (const line of lines) {
      payloads.push(line)
      bytes += line.length
      if (payloads.length >= pageMessages || bytes >= bytesAtOnce) await send()
    }
    if (payloads.length > 0) await send()
    progress.finish(`${storedCount} messages scheduled`)
  } catch (thrown) {
    const error = toRatatoskrError(thrown)
    progress.finish(`failed; ${storedCount} messages are scheduled`)
    throw new RatatoskrError(error.code, `${error.message}; ${storedCount} messages are scheduled`, {
      cause: error,
      details: { ...error.details, storedCount },
    })
  }
}
