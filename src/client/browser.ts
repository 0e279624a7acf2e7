/**
 * `ratatoskr/client` in a browser: WebSocket only, without any module of Node or npm, which a test proves by walking the
 * imports from here.
 */
import { RatatoskrError } from '../ports/index.ts'
import { browserPlatform } from './browser-platform.ts'
import type { Client } from './client.ts'
import { type ConnectOptions, connectWith } from './connect-with.ts'
import { openWebSocketLink } from './links/websocket.ts'

export * from './api.ts'

/**
 * Connects to a broker by `ws://` or `wss://` and resolves when it answers.
 * @throws RTK_INVALID_ARGUMENT, RTK_DISCONNECTED when nobody answers, RTK_UNAUTHENTICATED, RTK_TIMEOUT, RTK_CANCELLED
 */
export async function connect(
  urls: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client> {
  return connectWith(
    async (url) => {
      if (url.protocol === 'ws:' || url.protocol === 'wss:') return openWebSocketLink
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `in a browser a broker's URL begins with ws:// or wss://, got ${url.protocol}//`,
      )
    },
    urls,
    options,
    options.platform ?? browserPlatform(),
  )
}
