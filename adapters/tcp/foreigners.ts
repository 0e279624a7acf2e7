/** What a peer is told that speaks another protocol, in that protocol where its first bytes show which. */
import { errorToJson, RatatoskrError } from 'ratatoskr/ports'

const magic = Buffer.from('RTSK')
const tlsHandshake = 0x16
const tlsVersionMajor = 3
/** A fatal alert `protocol_version` (RFC 8446 section 6): this port has no TLS. */
const tlsAlert = Uint8Array.of(21, 3, 1, 0, 2, 2, 70)
const httpMethod = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|PRI) /

const what =
  'this port speaks the frames of Ratatoskr over TCP: connect with tcp:// and a client of Ratatoskr, or ask another of its ports'

/** @returns undefined for a peer that speaks our protocol, if badly */
export function answerToForeigner(beginning: Uint8Array): Uint8Array | undefined {
  const text = Buffer.from(beginning)
  if (text.subarray(0, magic.length).equals(magic)) return undefined
  if (text[0] === tlsHandshake && text[1] === tlsVersionMajor) return tlsAlert
  const error = new RatatoskrError('RTK_NOT_SUPPORTED', what)
  if (!httpMethod.test(text.toString('latin1'))) return Buffer.from(`${error.code}: ${error.message}\r\n`)
  const body = JSON.stringify(errorToJson(error))
  const head = [
    'HTTP/1.1 400 Bad Request',
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}
