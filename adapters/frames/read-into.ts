/**
 * Reading from an accepted socket straight into the frames that come.
 *
 * A server of Node hands out sockets that read into chunks of 64 KiB of their own: a batch of 256 KiB is then read in four
 * pieces that are garbage as soon as they are copied together. `onread` of `net.Socket` reads into bytes that it is given, but
 * no server can be told to use it; so the connection is taken over by a socket that can. What that takes of Node's inside is
 * the connection's handle alone; where it cannot be had, as under TLS, the chunks are read as they come.
 */
import { Socket, type SocketConstructorOpts } from 'node:net'
import { TLSSocket } from 'node:tls'
import { readTurns } from './read-turns.ts'

/** What takes the bytes of a connection. */
export interface ByteReader {
  /** Takes a chunk that somebody else has read. */
  push(chunk: Uint8Array): void
  /** Where the next bytes are to be read into. */
  buffer(): Uint8Array
  /** So many bytes were read into what `buffer` gave last. */
  filled(bytes: number): void
}

interface WithHandle {
  _handle?: { useUserBuffer?: unknown } | null
}

/**
 * @param taking called with each read; it runs what it is given to let the reader take what came
 * @returns the socket to go on with: the accepted one is not to be used any more
 */
export function readInto(accepted: Socket, reader: ByteReader, taking: (take: () => void) => void): Socket {
  const inside = accepted as WithHandle
  const handle = inside._handle
  if (accepted instanceof TLSSocket || typeof handle?.useUserBuffer !== 'function') {
    return accepted.on('data', (chunk: Buffer) => taking(() => reader.push(chunk)))
  }
  inside._handle = null
  accepted.destroy() // the server counts it no more; its handle lives on
  let roomBytes = 0
  const onread = {
    buffer: () => {
      const room = reader.buffer()
      roomBytes = room.length
      return room
    },
    callback: (bytes: number) => {
      const more = bytes === roomBytes
      readTurns.begins()
      taking(() => reader.filled(bytes))
      return readTurns.mayGoOn(reading, bytes, more)
    },
  }
  const options: object = { handle, onread }
  const socket = new Socket(options as SocketConstructorOpts)
  const reading = {
    visitBytes: 0,
    visitMs: 0,
    // Who has paused it meanwhile resumes it.
    goOn: (): void => {
      if (!socket.destroyed && !socket.isPaused()) socket.resume()
    },
  }
  return socket
}
