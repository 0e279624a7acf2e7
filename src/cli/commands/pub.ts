/** `ratatoskr pub`: one message from the command line, or one a line from stdin, byte for byte. */

import { type Durability, isDurability, RatatoskrError } from '../../ports/index.ts'
import { type ConnectionOptions, pair, wholeNumber, withClient } from '../connection.ts'
import { Progress, printRecord } from '../output.ts'

interface PubOptions extends ConnectionOptions {
  readonly key?: string
  readonly header?: readonly string[]
  readonly partition?: string
  readonly durability?: string
}

export const pub = (topic: string, payload: string | undefined, options: PubOptions): Promise<void> =>
  withClient(options, async (client) => {
    const fields = fieldsOf(options)
    if (payload !== undefined) {
      await printRecord(await client.publish(topic, payload, fields), options.output)
      return
    }
    const progress = new Progress(`pub ${topic}`)
    await using producer = client.producer({ lingerMs: 5 })
    let read = 0
    async function* messages() {
      for await (const line of linesOf(process.stdin)) {
        yield { ...fields, payload: line }
        progress.update(`${++read} messages`)
      }
    }
    const { messageCount } = await producer.addAll(topic, messages(), { durability: fields.durability })
    progress.finish(`${messageCount} messages published`)
  })

function fieldsOf({ key, header = [], partition, durability }: PubOptions) {
  if (durability !== undefined && !isDurability(durability)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `--durability takes memory, os, interval, fsync or quorum, got ${JSON.stringify(durability)}`,
    )
  }
  return {
    key,
    headers: header.map((text) => pair('--header', text)),
    partition: partition === undefined ? undefined : wholeNumber('--partition', partition, 0),
    durability: durability as Durability | undefined,
  }
}

/** The lines of a stream as bytes, without their line feeds; a carriage return belongs to the line. */
export async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array[] = []
  for await (const chunk of input) {
    let start = 0
    for (let end = chunk.indexOf(0x0a, start); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const tail = chunk.subarray(start, end)
      yield rest.length === 0 ? tail : Buffer.concat([...rest, tail])
      rest = []
      start = end + 1
    }
    if (start < chunk.length) rest.push(chunk.subarray(start))
  }
  if (rest.length > 0) yield Buffer.concat(rest)
}
