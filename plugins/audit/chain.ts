/**
 * The lines of an audit log and the chain that they make.
 *
 *   {"seq":7,"time":"2025-01-01T00:00:00.000Z","event":"topicCreated",…,"previous":"<hash of line 6>","hash":"<hash>"}
 *
 * `hash` is the SHA-256, in lower-case hexadecimal, of the line's bytes before `,"hash":`; `previous` is the hash of the
 * line before, and 64 zeros on the first. Whoever changes, removes, inserts or reorders a line breaks the chain there.
 * Whoever can write the file could still cut lines off its end, or write it anew as a whole: against that, keep a hash
 * elsewhere now and then and give it to `verifyAuditLog`.
 */
import { createHash } from 'node:crypto'

/** What the first line names as the one before it. */
export const genesisHash = '0'.repeat(64)

/** A longer line is none of ours: the fields that callers can influence are cut to a fraction of it. */
export const lineBytesMax = 64 * 1024

/** What is recorded, without its place in the chain. */
export interface AuditEntry {
  readonly time: string
  readonly event: string
  readonly [field: string]: unknown
}

/** Where a chain stands: at its last line. */
export interface ChainEnd {
  readonly seq: number
  readonly hash: string
}

export const genesis: ChainEnd = Object.freeze({ seq: 0, hash: genesisHash })

export interface ChainedLine extends ChainEnd {
  /** Without line feed. */
  readonly text: string
}

/** A line as it was read. */
export interface AuditLine extends ChainEnd {
  readonly previous: string
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

/** The line that follows `end`. */
export function nextLine(end: ChainEnd, entry: AuditEntry): ChainedLine {
  const seq = end.seq + 1
  const { time, event, ...fields } = entry
  const open = JSON.stringify({ seq, time, event, ...fields, previous: end.hash }).slice(0, -1)
  const hash = sha256(open)
  return { seq, hash, text: `${open},"hash":"${hash}"}` }
}

const suffixBytes = ',"hash":"'.length + 64 + '"}'.length

/** Reads a line's bytes, without line feed. @returns why it is no line of ours, as text, when it is none */
export function readLine(bytes: Uint8Array): AuditLine | string {
  if (bytes.length > lineBytesMax) return `it is longer than ${lineBytesMax} bytes`
  const open = bytes.subarray(0, Math.max(0, bytes.length - suffixBytes))
  const suffix = /^,"hash":"([0-9a-f]{64})"\}$/.exec(
    Buffer.from(bytes.subarray(open.length)).toString('latin1'),
  )
  if (suffix === null) return 'it does not end in a hash: it is cut off, or was changed'
  if (sha256(open) !== suffix[1]) return 'its hash does not match: it was changed'
  const fields = parse(bytes)
  if (fields === undefined || typeof fields.event !== 'string' || typeof fields.previous !== 'string') {
    return 'it is no entry of an audit log'
  }
  if (!Number.isSafeInteger(fields.seq)) return 'it has no sequence number'
  return {
    seq: fields.seq as number,
    hash: suffix[1],
    previous: fields.previous,
    event: fields.event,
    fields,
  }
}

function parse(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Checks that a line follows on `end`. @returns why not */
export function brokenLink(end: ChainEnd, line: AuditLine): string | undefined {
  if (line.seq !== end.seq + 1) {
    return `its sequence number is ${line.seq} where ${end.seq + 1} was expected: lines are missing, or were moved`
  }
  if (line.previous !== end.hash) return 'it does not follow on the line before: one of them was replaced'
  return undefined
}
