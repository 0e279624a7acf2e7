/**
 * The opening handshake: who may open a connection, with which subprotocol, and what the request says of the peer.
 *
 * A browser sends the page's origin and cookies wherever a script asks it to, so that any page could reach a broker on
 * its reader's machine: origins are refused unless they are allowed by name. Other clients send none.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Credentials, ErrorCode, Peer } from 'ratatoskr/ports'
import { binarySubprotocol, errorToJson, isLocalHost, jsonSubprotocol, RatatoskrError } from 'ratatoskr/ports'

/** A handshake that is refused: the HTTP status, and the error that goes into the body. */
export interface Refusal {
  readonly status: 400 | 403 | 503
  readonly error: RatatoskrError
}

/** @param allowedOrigins `*` allows every page */
export function refusalOf(request: IncomingMessage, allowedOrigins: readonly string[]): Refusal | undefined {
  const { origin } = request.headers
  if (origin !== undefined && !allowedOrigins.includes('*') && !allowedOrigins.includes(origin)) {
    return refusal(403, 'RTK_PERMISSION_DENIED', 'pages of this origin may not connect; see allowedOrigins')
  }
  if (chosenSubprotocol(offeredSubprotocols(request)) === undefined) {
    const known = `${binarySubprotocol} or ${jsonSubprotocol}`
    return refusal(400, 'RTK_NOT_SUPPORTED', `Sec-WebSocket-Protocol must offer ${known}`)
  }
  return undefined
}

export const refusal = (status: Refusal['status'], code: ErrorCode, message: string): Refusal => ({
  status,
  error: new RatatoskrError(code, message),
})

const statusTexts = { 400: 'Bad Request', 403: 'Forbidden', 503: 'Service Unavailable' } as const

/** Answers a handshake with an HTTP error and ends the connection. */
export function refuse(socket: Duplex, { status, error }: Refusal): void {
  const body = JSON.stringify(errorToJson(error))
  const head = [
    `HTTP/1.1 ${status} ${statusTexts[status]}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  socket.once('error', () => socket.destroy())
  socket.once('finish', () => socket.destroy())
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** The subprotocol to speak: of those that both know, the client's first. */
export function chosenSubprotocol(offered: Iterable<string>): string | undefined {
  for (const name of offered) if (name === binarySubprotocol || name === jsonSubprotocol) return name
  return undefined
}

const offeredSubprotocols = (request: IncomingMessage): readonly string[] =>
  (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())

export function peerOf(request: IncomingMessage, encrypted: boolean): Peer {
  const host = request.socket.remoteAddress ?? ''
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    transport: 'websocket',
    address: `${shown}:${request.socket.remotePort ?? 0}`,
    local: isLocalHost(host),
    encrypted,
  }
}

/** What the `authorization` header proves; a scheme that is not known proves nothing. */
export function credentialsOf(request: IncomingMessage): Credentials {
  const [, scheme, value] = /^(\S+) +(\S+) *$/.exec(request.headers.authorization ?? '') ?? []
  if (scheme?.toLowerCase() === 'bearer') return { kind: 'bearer', token: value }
  if (scheme?.toLowerCase() === 'basic') {
    const text = Buffer.from(value, 'base64').toString()
    const colon = text.indexOf(':')
    if (colon !== -1)
      return { kind: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1) }
  }
  return { kind: 'none' }
}
