/** `ratatoskr pub`: one message from the command line, or one a line from stdin, byte for byte. */

import { fstatSync } from 'node:fs'
import { type Durability, isDurability, RatatoskrError, toRatatoskrError } from '../../ports/index.ts'
import { type ConnectionOptions, pair, wholeNumber, withClient } from '../connection.ts'
import { durationMs } from '../duration.ts'
import { Progress, printRecord } from '../output.ts'
import { momentMs } from '../position.ts'
import { publishLater } from './scheduled.ts'

interface PubOptions extends ConnectionOptions {
  readonly key?: string
  readonly header?: readonly string[]
  readonly partition?: string
  readonly durability?: string
  readonly ttl?: string
  readonly delay?: string
  readonly at?: string
}

export const pub = (topic: string, payload: string | undefined, options: PubOptions): Promise<void> =>
  withClient(options, async (client) => {
    const fields = fieldsOf(options)
    const { durability, ...each } = fields
    if (payload !== undefined) {
      await printRecord(await client.publish(topic, payload, fields), options.output)
      return
    }
    const progress = new Progress(`pub ${topic}`)
    if (fields.delayMs !== undefined || fields.deliverAtMs !== undefined) {
      await publishLater(client, { topic, durability, each, progress }, linesOf(standardInput()))
      return
    }
    await using producer = client.producer({ lingerMs: 5 })
    let read = 0
    async function* messages() {
      for await (const line of linesOf(standardInput())) {
        read++
        yield { ...each, payload: line }
        progress.update(`${read} messages`)
      }
    }
    try {
      const { messageCount } = await producer.addAll(topic, messages(), { durability })
      progress.finish(`${messageCount} messages published`)
    } catch (error) {
      const failure = failureAt(error, read)
      progress.finish(`failed; ${failure.details.storedCount ?? 0} messages are published`)
      throw failure
    }
  })

/**
 * The error of a publish that ended half done, with how far it came. When every line before the last one read is
 * stored, that one is at fault; otherwise a batch was refused, and any of the lines not yet stored may be.
 */
function failureAt(error: unknown, lineNumber: number): RatatoskrError {
  const failure = toRatatoskrError(error)
  const storedCount = Number(failure.details.storedCount ?? 0)
  const place = storedCount === lineNumber - 1 ? `line ${lineNumber}` : `a line up to ${lineNumber}`
  const where = lineNumber === 0 || isInputError(failure) ? '' : `${place}: `
  return new RatatoskrError(
    failure.code,
    `${where}${failure.message}; ${storedCount} messages are published`,
    { cause: failure, details: { ...failure.details, storedCount } },
  )
}

const isInputError = ({ details }: RatatoskrError): boolean => details.input === true

/** stdin, whose failure is an error. Node takes a directory for an empty file; a closed stdin it opens as /dev/null. */
async function* standardInput(): AsyncGenerator<Uint8Array> {
  try {
    if (fstatSync(0).isDirectory()) throw Object.assign(new Error('it is a directory'), { code: 'EISDIR' })
    yield* process.stdin
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown reason'
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', `stdin could not be read (${reason})`, {
      cause,
      details: { input: true },
    })
  }
}

function fieldsOf({ key, header = [], partition, durability, ttl, delay, at }: PubOptions) {
  if (delay !== undefined && at !== undefined) {
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'give --delay or --at, not both')
  }
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
    ttlMs: ttl === undefined ? undefined : durationMs('--ttl', ttl),
    delayMs: delay === undefined ? undefined : durationMs('--delay', delay),
    deliverAtMs: at === undefined ? undefined : momentMs('--at', at),
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
