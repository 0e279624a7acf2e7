/**
 * Where a transport may listen. Without credentials anybody who reaches the address is let in, so that only addresses
 * which no network reaches are allowed, unless the operator says otherwise. Every transport asks before it binds.
 */
import { RatatoskrError } from './errors.ts'
import { quoteForMessage } from './names.ts'

/** What decides whether an address beyond loopback may be bound. */
export interface BindRules {
  /** The operator's word that listening without credentials is meant. */
  readonly insecure?: boolean | undefined
  readonly authenticator: { readonly requiresCredentials: boolean }
}

/**
 * @param host what the transport would listen on: an address, a host name, or the path of a Unix socket
 * @throws RTK_INSECURE_BIND when it lies beyond loopback and nobody would be asked for credentials
 */
export function assertBindAllowed(host: string, rules: BindRules): void {
  if (rules.insecure === true || rules.authenticator.requiresCredentials || isLocalHost(host)) return
  throw new RatatoskrError(
    'RTK_INSECURE_BIND',
    `${quoteForMessage(host)} can be reached from other machines, and no authenticator asks for credentials: ` +
      'listen on 127.0.0.1, configure authentication, or say insecure: true',
  )
}

/**
 * True when the bytes sent to `host` cross no network: loopback addresses, `localhost`, and Unix sockets. What is not
 * surely local is not: other host names, shortened addresses such as `127.1`, and an empty host, which means all.
 */
export function isLocalHost(host: string): boolean {
  if (typeof host !== 'string' || host === '') return false
  if (host.startsWith('/') || host.startsWith('unix:') || host.startsWith('\\\\.\\pipe\\')) return true
  const name = host.toLowerCase()
  if (name === 'localhost' || name === 'localhost.') return true
  const bytes = ipv4Bytes(name)
  if (bytes !== undefined) return bytes[0] === 127
  const words = ipv6Words(name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name)
  if (words === undefined) return false
  const zeros = words.findIndex((word) => word !== 0)
  if (zeros === 7) return words[7] === 1
  return zeros === 5 && words[5] === 0xffff && words[6] >> 8 === 127
}

const ipv4Part = /^(0|[1-9]\d{0,2})$/

function ipv4Bytes(text: string): readonly number[] | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => ipv4Part.test(part))) return undefined
  const bytes = parts.map(Number)
  return bytes.every((byte) => byte <= 255) ? bytes : undefined
}

/** The eight 16-bit words of an IPv6 address, also of one that ends in an IPv4 address. */
function ipv6Words(text: string): readonly number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = wordsOf(halves[0])
  const tail = halves.length === 2 ? wordsOf(halves[1]) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  return [...head, ...Array<number>(missing).fill(0), ...tail]
}

function wordsOf(text: string): readonly number[] | undefined {
  if (text === '') return []
  const words: number[] = []
  for (const [place, part] of text.split(':').entries()) {
    if (/^[0-9a-f]{1,4}$/.test(part)) {
      words.push(Number.parseInt(part, 16))
      continue
    }
    const bytes = ipv4Bytes(part)
    if (bytes === undefined || place !== text.split(':').length - 1) return undefined
    words.push((bytes[0] << 8) | bytes[1], (bytes[2] << 8) | bytes[3])
  }
  return words
}
