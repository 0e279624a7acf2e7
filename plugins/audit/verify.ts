/** Checks an audit log line by line, without holding more than one. */
import { createReadStream } from 'node:fs'
import { RatatoskrError } from 'ratatoskr/ports'
import { brokenLink, type ChainEnd, genesis, lineBytesMax, readLine } from './chain.ts'

/** A log that is whole. */
export interface IntactAuditLog {
  readonly valid: true
  readonly lines: number
  /** Hash of the last line; 64 zeros when there is none. Kept elsewhere, it proves later that nothing was cut off. */
  readonly lastHash: string
  /** Events that were not recorded, as the log itself says. */
  readonly droppedEvents: number
}

/** A log that is not. */
export interface BrokenAuditLog {
  readonly valid: false
  /** Lines before the broken one. */
  readonly lines: number
  /** The first broken line, from 1. */
  readonly brokenLine: number
  readonly reason: string
}

/** What is known of the log from elsewhere. */
export interface VerifyOptions {
  /** Hash of a line that must be in the log: finds out when lines were cut off its end, or the whole was written anew. */
  readonly knownHash?: string | undefined
}

type Lines = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>

/**
 * Verifies an audit log.
 * @param source path of the file, or its lines without line feeds
 * @throws RTK_INVALID_ARGUMENT when the file cannot be read
 */
export async function verifyAuditLog(
  source: string | Lines,
  options: VerifyOptions = {},
): Promise<IntactAuditLog | BrokenAuditLog> {
  const { knownHash } = options
  let end: ChainEnd = genesis
  let droppedEvents = 0
  let known = knownHash === undefined || knownHash === genesis.hash
  for await (const raw of typeof source === 'string' ? linesOf(source) : source) {
    const line = readLine(typeof raw === 'string' ? Buffer.from(raw) : raw)
    const reason = typeof line === 'string' ? line : brokenLink(end, line)
    if (reason !== undefined || typeof line === 'string') {
      return { valid: false, lines: end.seq, brokenLine: end.seq + 1, reason: reason ?? '' }
    }
    if (line.event === 'auditDropped' && typeof line.fields.count === 'number')
      droppedEvents += line.fields.count
    if (line.hash === knownHash) known = true
    end = line
  }
  if (known) return { valid: true, lines: end.seq, lastHash: end.hash, droppedEvents }
  const reason =
    'the line of the known hash is not in the log: lines were cut off, or the log was written anew'
  return { valid: false, lines: end.seq, brokenLine: end.seq + 1, reason }
}

/** The lines of a file as bytes. One that is too long to be ours comes cut, which is enough to refuse it. */
async function* linesOf(path: string): AsyncGenerator<Uint8Array> {
  let rest: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      let start = 0
      for (let feed = bytes.indexOf(0x0a); feed !== -1; feed = bytes.indexOf(0x0a, start)) {
        yield bytes.subarray(start, feed)
        start = feed + 1
      }
      rest = bytes.subarray(start)
      if (rest.length > lineBytesMax) break
    }
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason'
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', `the audit log cannot be read: ${code}`, { cause })
  }
  if (rest.length > 0) yield cutOff(rest)
}

/** A last line without line feed was never finished, even when it looks whole: the next append would go on behind it. */
const cutOff = (rest: Uint8Array): Uint8Array => rest.subarray(0, Math.min(rest.length - 1, lineBytesMax + 1))
