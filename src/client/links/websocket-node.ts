/**
 * WebSocket links for Node, over `ws`.
 *
 * Clients must mask what they send, against proxies that would take a page's bytes for HTTP; this client is no page. It
 * masks with zeros, which is valid and takes no byte to be touched: measured, 6 instead of 2 million small messages a second,
 * since neither end spends its time on XOR, and either reads a batch straight to where it stays.
 */
import type { IncomingMessage } from 'node:http'
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
import { SplitStream } from './split-stream.ts'
import { wireLinkOpener } from './wire-link.ts'
import type { OpenWireSocket } from './wire-socket.ts'

const closeTimeoutMs = 2_000
const refusalBytesMax = 64 * 1024

/** Connects to a broker, over `ws:` or `wss:`. */
export const openNodeSocket: OpenWireSocket = (url, { events, frameBytesMax, signal }) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) throw abortError(signal, 'connecting')
    let stream: SplitStream | undefined
    const binary = (frame: Uint8Array): void => {
      // Nothing counts behind the peer's closing, or behind what broke the rules.
      if (ws.readyState === WebSocket.OPEN) events.binary(frame)
    }
    const options = {
      createConnection() {
        stream = new SplitStream({ url, payloadBytesMax: frameBytesMax, binary })
        return stream
      },
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
    ws.on('upgrade', () => stream?.upgraded())
    ws.on('open', () => {
      signal?.removeEventListener('abort', abort)
      resolve(new OpenSocket(ws, stream as SplitStream))
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

  constructor(ws: WebSocket, stream: SplitStream) {
    super(stream.socket, maskedHeader)
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
export const openWebSocketLink: OpenLink = wireLinkOpener(openNodeSocket)
