/**
 * What a request must be before anything is done for it: HTTP that cannot be read in two ways, and not the work of a
 * foreign web page that uses the browser of someone near the broker.
 */
import type { IncomingMessage } from 'node:http'
import { type BrokerFacade, RatatoskrError } from 'ratatoskr/ports'

// Node keeps the first 1,000 pairs and drops the rest without a word, an Authorization header among them.
const headersMax = 100

/** Refuses two Host headers and floods of headers. @throws RTK_INVALID_ARGUMENT, RTK_HEADER_INVALID */
export function assertHeadersAllowed(request: IncomingMessage): void {
  const { rawHeaders } = request
  if (rawHeaders.length > headersMax * 2) {
    throw new RatatoskrError(
      'RTK_HEADER_INVALID',
      `a request has at most ${headersMax} HTTP headers, got ${rawHeaders.length / 2}`,
    )
  }
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i].toLowerCase() === 'host') hosts++
  if (hosts > 1)
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'a request has one Host header, got several')
}

interface BrowserRules {
  readonly allowedOrigins: readonly string[]
  readonly loopback: boolean
  readonly broker: BrokerFacade
}

const loopbackHost = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i

/**
 * Refuses web pages of other origins, and, on an open loopback listener, names that a page could have pointed here
 * (DNS rebinding). @throws RTK_PERMISSION_DENIED
 */
export function assertBrowserAllowed(request: IncomingMessage, rules: BrowserRules): void {
  const { origin, host = '' } = request.headers
  const site = request.headers['sec-fetch-site']
  if (origin !== undefined && !rules.allowedOrigins.includes(origin) && !isSameOrigin(origin, host)) {
    throw new RatatoskrError(
      'RTK_PERMISSION_DENIED',
      'web pages of this origin may not call; add it to allowedOrigins',
    )
  }
  if (origin === undefined && site === 'cross-site') {
    throw new RatatoskrError('RTK_PERMISSION_DENIED', 'web pages of other sites may not call')
  }
  if (rules.loopback && !rules.broker.authenticator.requiresCredentials && !loopbackHost.test(host)) {
    throw new RatatoskrError(
      'RTK_PERMISSION_DENIED',
      'the Host header must name loopback, such as localhost:8080',
    )
  }
}

const isSameOrigin = (origin: string, host: string): boolean =>
  origin === `http://${host}` || origin === `https://${host}`
