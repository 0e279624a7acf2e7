/**
 * Links over a byte stream: TCP (`tcp://host:port`), TLS (`tcps://host:port`) and Unix sockets (`unix:/path/to.sock`).
 * What goes over it is described in domain/wire/stream.ts.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import {
  encodeOpening,
  framePrefixBytes,
  RatatoskrError,
  type StreamEvents,
  type StreamOpening,
  StreamReader,
  streamProtocolVersion,
  textFrameByte,
  utf8Text,
} from '../../ports/index.ts'
import { abortError } from '../call.ts'
import type { OpenLink } from '../link.ts'
import { FramedSocket, type FrameHeader } from './framed-socket.ts'
import { wireLinkOpener } from './wire-link.ts'
import type { OpenWireSocket } from './wire-socket.ts'

const noBytes = new Uint8Array(0)
/** Where a broker listens unless it is told otherwise. */
const defaultPort = 7_282

const openSocket: OpenWireSocket = (url, { events, frameBytesMax, signal }) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) throw abortError(signal, 'connecting')
    const frames: StreamEvents = {
      opening: assertVersion,
      frame(frame) {
        if (frame.length === 0) stream.sendBinary(noBytes)
        else if (frame[0] === textFrameByte) events.text(utf8Text(frame))
        else events.binary(frame)
      },
    }
    const reader = new StreamReader(frameBytesMax, frames, unfilled)
    let failure: Error | undefined
    /** Takes what came; a peer that cannot be read is given up. */
    const taking = (take: () => void): void => {
      try {
        take()
      } catch (error) {
        failure ??= new Error(foreignerBy(reader.beginning) ?? (error as Error).message)
        reader.close()
        socket.destroy()
      }
    }
    const socket = connected(url, reader, taking)
    const stream = new FramedSocket(socket, lengthHeader)
    const abort = (): void => {
      if (signal !== undefined) reject(abortError(signal, 'connecting'))
      socket.destroy()
    }
    signal?.addEventListener('abort', abort, { once: true })
    socket.once(url.protocol === 'tcps:' ? 'secureConnect' : 'connect', () => {
      signal?.removeEventListener('abort', abort)
      socket.write(encodeOpening(frameBytesMax))
      resolve(stream)
    })
    socket.on('error', (error) => {
      failure ??= error
    })
    socket.on('close', () => {
      signal?.removeEventListener('abort', abort)
      reader.close()
      reject(
        new RatatoskrError('RTK_DISCONNECTED', `no broker answered at ${shown(url)}`, { cause: failure }),
      )
      events.closed(
        failure?.message ?? (reader.beginning.length === 0 ? closedSilently : 'the broker closed it'),
      )
    })
  })

function assertVersion({ version }: StreamOpening): void {
  if (version === streamProtocolVersion) return
  throw new Error(`it speaks version ${version} of the stream protocol, this client ${streamProtocolVersion}`)
}

/** The length of each frame. */
const lengthHeader: FrameHeader = {
  bytes: () => framePrefixBytes,
  write: (target, _text, length) => new DataView(target.buffer, target.byteOffset).setUint32(0, length),
}

/** Connects, and tells the reader what comes. Of TLS the bytes come as they are decrypted; others are read where they belong. */
function connected(url: URL, reader: StreamReader, taking: (take: () => void) => void): Socket {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const address = { host, port: Number(url.port || defaultPort), noDelay: true }
  if (url.protocol === 'tcps:') {
    // Where several brokers share an address, the one that is meant is told by its name.
    const servername = isIP(host) === 0 ? host : ''
    return connectTls({ ...address, servername }).on('data', (chunk: Buffer) =>
      taking(() => reader.push(chunk)),
    )
  }
  const onread = {
    buffer: () => reader.buffer(),
    callback: (bytes: number) => {
      taking(() => reader.filled(bytes))
      return true
    },
  }
  return url.protocol === 'unix:'
    ? connectTcp({ path: decodeURIComponent(url.pathname), onread })
    : connectTcp({ ...address, onread })
}

/** Bytes for what is read. Zeroing them would cost as much as copying them. */
const unfilled = (bytes: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)

const closedSilently = 'it was closed without a word, as by a broker that expects TLS (tcps://)'

const shown = (url: URL): string => (url.protocol === 'unix:' ? url.pathname : url.host)

/** What answers, when it is none of ours. */
function foreignerBy(beginning: Uint8Array): string | undefined {
  const text = Buffer.from(beginning).toString('latin1')
  if (text.startsWith('RTSK')) return undefined
  if (text.startsWith('HTTP')) return 'what answers there speaks HTTP'
  if (beginning[0] === 21 && beginning[1] === 3) return 'what answers there speaks TLS; try tcps://'
  return 'what answers there does not speak the frames of Ratatoskr'
}

/** Opens a link over a byte stream: `tcp://`, `tcps://` or `unix:`. */
export const openTcpLink: OpenLink = wireLinkOpener(openSocket)
