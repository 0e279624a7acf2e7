/**
 * What a request must be before anything is done for it: HTTP that cannot be read in two ways, and not the work of a
 * foreign web page that uses the browser of someone near the broker.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { RatatoskrError } from 'ratatoskr/ports'

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

export interface BrowserRules {
  /** Origins of pages that may call; `*` for every page. */
  readonly allowedOrigins: readonly string[]
  /** Whether only names of loopback can be meant: nobody is asked for credentials, and no network reaches us. */
  readonly loopbackOnly: boolean
}

const loopbackHost = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i

/**
 * Refuses web pages of other origins, and, on an open loopback listener, names that a page could have pointed here
 * (DNS rebinding). @throws RTK_PERMISSION_DENIED
 */
export function assertBrowserAllowed(request: IncomingMessage, rules: BrowserRules): void {
  const { origin, host = '', 'sec-fetch-site': site } = request.headers
  if (origin !== undefined && !isOriginAllowed(origin, rules) && !isSameOrigin(origin, host)) {
    throw denied('web pages of this origin may not call; add it to allowedOrigins')
  }
  if (origin === undefined && (site === 'cross-site' || site === 'same-site')) {
    throw denied('web pages of other origins may not call')
  }
  if (rules.loopbackOnly && !loopbackHost.test(host)) {
    throw denied('the Host header must name loopback, such as localhost:8080')
  }
}

// What scripts of an allowed page may read beside the body.
const exposedHeaders = [
  'ratatoskr-from-offset',
  'ratatoskr-next-offset',
  'ratatoskr-start-offset',
  'ratatoskr-stable-offset',
  'ratatoskr-member',
  'ratatoskr-subscription',
  'retry-after',
].join(', ')

/** Lets a page of an allowed origin read the answer, and tells a preflight request what the page may send (CORS). */
export function allowPage(request: IncomingMessage, response: ServerResponse, rules: BrowserRules): void {
  const { origin } = request.headers
  if (origin === undefined || !isOriginAllowed(origin, rules)) return
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('vary', 'origin')
  response.setHeader('access-control-expose-headers', exposedHeaders)
  if (request.method !== 'OPTIONS') return
  const asked = request.headers['access-control-request-headers']
  response.setHeader('access-control-allow-methods', 'GET, HEAD, POST, PUT, PATCH, DELETE')
  if (asked !== undefined) response.setHeader('access-control-allow-headers', asked)
  response.setHeader('access-control-max-age', '600')
}

const isOriginAllowed = (origin: string, { allowedOrigins }: BrowserRules): boolean =>
  allowedOrigins.includes(origin) || allowedOrigins.includes('*')

const isSameOrigin = (origin: string, host: string): boolean =>
  origin === `http://${host}` || origin === `https://${host}`

const denied = (message: string): RatatoskrError => new RatatoskrError('RTK_PERMISSION_DENIED', message)
