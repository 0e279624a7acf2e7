/**
 * WebSocket links for browsers, and for any platform with the global `WebSocket`: no node module is imported.
 */
import { binarySubprotocol, joinFrame, RatatoskrError } from '../../ports/index.ts'
import { abortError } from '../call.ts'
import type { OpenLink } from '../link.ts'
import { wireLinkOpener } from './wire-link.ts'
import type { OpenWireSocket } from './wire-socket.ts'

/** What is used of the global `WebSocket`, whose types the Node build does not have. */
interface BrowserSocket {
  binaryType: string
  send(data: string | Uint8Array): void
  close(): void
  addEventListener(type: 'open' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { readonly data: string | ArrayBuffer }) => void): void
  addEventListener(
    type: 'close',
    listener: (event: { readonly code: number; readonly reason: string }) => void,
  ): void
}

const openSocket: OpenWireSocket = (url, { events, signal }) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) throw abortError(signal, 'connecting')
    const Socket = (
      globalThis as unknown as { WebSocket: new (url: string, protocol: string) => BrowserSocket }
    ).WebSocket
    const socket = new Socket(url.href, binarySubprotocol)
    socket.binaryType = 'arraybuffer'
    const abort = (): void => {
      if (signal !== undefined) reject(abortError(signal, 'connecting'))
      socket.close()
    }
    signal?.addEventListener('abort', abort, { once: true })
    socket.addEventListener('open', () => {
      signal?.removeEventListener('abort', abort)
      resolve({
        sendText: (text) => socket.send(text),
        sendBinary: (head, body) => socket.send(body === undefined ? head : joinFrame(head, body)),
        close: () => socket.close(),
      })
    })
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') events.text(data)
      else events.binary(new Uint8Array(data))
    })
    socket.addEventListener('close', ({ code, reason }) => {
      // A browser does not tell scripts why a connection could not be made.
      reject(
        new RatatoskrError('RTK_DISCONNECTED', `no broker answered at ${url.origin} (close code ${code})`),
      )
      events.closed(`closed with code ${code}${reason === '' ? '' : ` (${reason})`}`)
    })
  })

/** Opens a link over the platform's own WebSocket. */
export const openWebSocketLink: OpenLink = wireLinkOpener(openSocket)
