/** `connect(url)`: picks the link for the URL's scheme, loads it when it is needed, and makes a client of it. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import { RatatoskrError } from '../ports/index.ts'
import type { Client } from './client.ts'
import { type ConnectOptions, connectWith } from './connect-with.ts'
import type { OpenLink } from './link.ts'

/** The link of each scheme. Loaded lazily, so that nobody pays for a protocol that he does not use. */
const linkOf = async (url: URL): Promise<OpenLink> => {
  assertNamesSomebody(url)
  switch (url.protocol) {
    case 'grpc:':
    case 'grpcs:':
      return (await import('./links/grpc.ts')).openGrpcLink
    case 'ws:':
    case 'wss:':
      return (await import('./links/websocket-node.ts')).openWebSocketLink
    case 'http:':
    case 'https:':
      return (await import('./links/http.ts')).openHttpLink
    case 'tcp:':
    case 'tcps:':
    case 'unix:':
      return (await import('./links/tcp.ts')).openTcpLink
    default:
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `a broker is named by a URL such as grpc://localhost:50051, with grpc, grpcs, tcp, tcps, unix, ws, wss, http or https, got ${url.protocol}`,
      )
  }
}

/** Schemes of our own have no host by the rules of URLs, and must be asked for it. */
const examples: Readonly<Record<string, string>> = {
  'grpc:': 'grpc://localhost:50051',
  'grpcs:': 'grpcs://localhost:50051',
  'tcp:': 'tcp://localhost:7282',
  'tcps:': 'tcps://localhost:7282',
}

function assertNamesSomebody(url: URL): void {
  const example = examples[url.protocol]
  if (example !== undefined && url.host === '') {
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', `the broker's URL names no host: write ${example}`)
  }
  if (url.protocol === 'unix:' && (url.host !== '' || url.pathname.replaceAll('/', '') === '')) {
    const what = `the broker's URL names no path: write unix:/run/ratatoskr.sock`
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', what)
  }
}

/**
 * Connects to a broker and resolves when it answers.
 * @param urls one URL, or several brokers of one cluster: the client begins with any of them and moves on when one is lost
 * @throws RTK_INVALID_ARGUMENT, RTK_DISCONNECTED when nobody answers, RTK_UNAUTHENTICATED, RTK_TIMEOUT, RTK_CANCELLED
 */
export function connect(urls: string | readonly string[], options: ConnectOptions = {}): Promise<Client> {
  return connectWith(linkOf, urls, options, options.platform ?? nodePlatform())
}
