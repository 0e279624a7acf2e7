/** `connect(url)`: picks the link for the URL's scheme, loads it when it is needed, and makes a client of it. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import { RatatoskrError } from '../ports/index.ts'
import type { Client } from './client.ts'
import { type ConnectOptions, connectWith } from './connect-with.ts'
import type { OpenLink } from './link.ts'

/** The link of each scheme. Loaded lazily, so that nobody pays for a protocol that he does not use. */
const linkOf = async (url: URL): Promise<OpenLink> => {
  if (url.host === '' && url.protocol.startsWith('grpc')) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `the broker's URL names no host: write ${url.protocol}//localhost:50051`,
    )
  }
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
    default:
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `a broker is named by a URL such as grpc://localhost:50051, with grpc, grpcs, ws, wss, http or https, got ${url.protocol}`,
      )
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
