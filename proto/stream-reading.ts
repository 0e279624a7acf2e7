/**
 * Reading a stream of HTTP/2 straight into the messages that come.
 *
 * Node gives a view of what its socket read for each frame of 16 KiB, and keeps the 64 KiB around it until garbage is collected:
 * copying such pieces together costs less than what becomes of them. Its own handles can read into bytes that they are given, as
 * `onread` of a socket has them do, but nothing public tells a stream of HTTP/2 to. So what a socket made with `onread` has is
 * given to the stream. Where that is not found, as in another version of Node, the pieces are read as they come.
 */
import type { Http2Stream } from 'node:http2'
import { Socket } from 'node:net'
import type { FrameReader } from './message-frames.ts'

interface Handle {
  useUserBuffer(buffer: Uint8Array): void
  readStart(): void
  readStop(): void
}

/** Stops reading, and goes on. */
export interface Reading {
  pause(): void
  resume(): void
}

/** The fields of Node's streams that direct reading needs. */
interface Inside {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

/**
 * Begins to read.
 * @param taking called with each read; it runs what it is given to let the reader take what came
 * @param straight false to read the pieces as they come
 */
export function readStream(
  stream: Http2Stream,
  reader: FrameReader,
  taking: (take: () => void) => void,
  straight = true,
): Reading {
  const inside = straight ? insideOfNode() : undefined
  const handle = inside === undefined ? undefined : handleOf(stream)
  if (inside === undefined || handle === undefined) {
    return stream.on('data', (chunk: Uint8Array) => taking(() => reader.push(chunk)))
  }
  const buffer = reader.buffer()
  Object.assign(stream, {
    [inside.buffer]: buffer,
    [inside.callback]: (bytes: number) => {
      taking(() => reader.filled(bytes))
      return true
    },
    [inside.generator]: () => reader.buffer(),
  })
  handle.useUserBuffer(buffer)
  stream.resume() // so that its end is told
  return {
    pause: () => {
      if (!stream.destroyed) handle.readStop()
    },
    resume: () => {
      if (!stream.destroyed) handle.readStart()
    },
  }
}

/**
 * Reads a socket into one buffer, again and again: whoever has many connections needs no more than one for all of them.
 * @param came called with what was read, which changes afterwards; tells whether reading goes on at once, or when the socket is
 * resumed
 */
export function readSocket(socket: Socket, buffer: Uint8Array, came: (chunk: Uint8Array) => boolean): void {
  const inside = insideOfNode()
  const handle = (socket as unknown as { readonly _handle?: Partial<Handle> | null })._handle
  if (inside === undefined || typeof handle?.useUserBuffer !== 'function') {
    socket.on('data', (chunk: Uint8Array) => {
      if (!came(chunk)) socket.pause()
    })
    return
  }
  Object.assign(socket, {
    [inside.buffer]: buffer,
    [inside.callback]: (bytes: number) => came(buffer.subarray(0, bytes)),
    [inside.generator]: () => buffer,
  })
  handle.useUserBuffer(buffer)
  socket.resume()
}

function handleOf(stream: Http2Stream): Handle | undefined {
  const symbol = symbolOf(stream, 'kHandle')
  if (stream.pending || symbol === undefined) return undefined
  const handle = (stream as unknown as Record<symbol, Partial<Handle> | undefined>)[symbol]
  return typeof handle?.useUserBuffer === 'function' ? (handle as Handle) : undefined
}

const symbolOf = (object: object, name: string): symbol | undefined =>
  Object.getOwnPropertySymbols(object).find(({ description }) => description === name)

let found: { readonly inside: Inside | undefined } | undefined

function insideOfNode(): Inside | undefined {
  found ??= { inside: lookInside() }
  return found.inside
}

function lookInside(): Inside | undefined {
  const onread = { buffer: () => new Uint8Array(1), callback: () => true }
  const socket = new Socket({ onread } as object)
  const buffer = symbolOf(socket, 'kBuffer')
  const callback = symbolOf(socket, 'kBufferCb')
  const generator = symbolOf(socket, 'kBufferGen')
  socket.destroy()
  if (buffer === undefined || callback === undefined || generator === undefined) return undefined
  return { buffer, callback, generator }
}
