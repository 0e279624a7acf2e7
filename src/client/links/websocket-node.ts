/**
 * WebSocket links for Node, over `ws`.
 *
 * Clients must mask what they send, against proxies that would take a page's bytes for HTTP; this client is no page. It
 * masks with zeros, which is valid and takes no byte to be touched: measured, 6 instead of 2 million small messages a second,
 * since neither end spends its time on XOR, and the broker reads a batch straight to where it stays.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import {
  binarySubprotocol,
  errorFromJson,
  parseJson,
  RatatoskrError,
  webSocketHeaderBytes,
  writeWebSocketHeader,
} from '../../ports/index.ts'
import { abortError } from '../call.ts'
import type { OpenLink } from '../link.ts'
import { FramedSocket, type FrameHeader } from './framed-socket.ts'
import { wireLinkOpener } from './wire-link.ts'
import type { OpenWireSocket } from './wire-socket.ts'

const closeTimeoutMs = 2_000
const refusalBytesMax = 64 * 1024

const openSocket: OpenWireSocket = (url, { events, frameBytesMax, signal }) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) throw abortError(signal, 'connecting')
    const options = {
      perMessageDeflate: false,
      maxPayload: frameBytesMax,
      closeTimeout: closeTimeoutMs,
      generateMask: (mask: Buffer) => void mask.fill(0),
    }
    const ws = new WebSocket(url, binarySubprotocol, options)
    const abort = (): void => {
      if (signal !== undefined) reject(abortError(signal, 'connecting'))
      ws.terminate()
    }
    signal?.addEventListener('abort', abort, { once: true })
    let failure: Error | undefined
    let stream: Duplex | undefined
    ws.on('upgrade', ({ socket }) => {
      stream = socket
    })
    ws.on('open', () => {
      signal?.removeEventListener('abort', abort)
      resolve(new OpenSocket(ws, stream as Duplex))
    })
    ws.on('unexpected-response', (_request, response) => {
      void refusalIn(response).then((error) => {
        reject(error)
        ws.terminate()
      })
    })
    ws.on('message', (data: Buffer, binary: boolean) => {
      if (binary) events.binary(data)
      else events.text(data.toString())
    })
    ws.on('error', (error) => {
      failure = error
    })
    ws.on('close', (code, reason) => {
      const message = `no broker answered at ${url.host}`
      reject(new RatatoskrError('RTK_DISCONNECTED', message, { cause: failure }))
      events.closed(failure?.message ?? `closed with code ${code}${reason.length > 0 ? ` (${reason})` : ''}`)
    })
  })

/** Sends messages itself, so that no batch is copied: `ws` writes control frames only, whole and synchronously. */
class OpenSocket extends FramedSocket {
  readonly #ws: WebSocket

  constructor(ws: WebSocket, stream: Duplex) {
    super(stream, maskedHeader)
    this.#ws = ws
  }

  protected override end(): void {
    this.#ws.close(1000)
  }
}

const maskedHeader: FrameHeader = {
  bytes: (length) => webSocketHeaderBytes(length, true),
  write: (target, text, length) => writeWebSocketHeader(target, text, length, true),
}

/** The broker's reason for refusing the handshake. */
async function refusalIn(response: IncomingMessage): Promise<RatatoskrError> {
  try {
    let body = ''
    for await (const chunk of response.setEncoding('utf8')) {
      body += chunk
      if (body.length > refusalBytesMax) break
    }
    return errorFromJson(parseJson(body, { depthMax: 8 }))
  } catch (cause) {
    const what = `what answered is no broker: HTTP status ${response.statusCode}`
    return new RatatoskrError('RTK_DISCONNECTED', what, { cause })
  }
}

/** Opens a link over WebSocket: `ws://` or `wss://`. */
export const openWebSocketLink: OpenLink = wireLinkOpener(openSocket)
