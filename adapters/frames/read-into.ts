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
import { type Reading, readTurns } from './read-turns.ts'

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

/** One connection as it is read from. */
class ReadSide implements Reading {
  visitBytes = 0
  visitMs = 0
  /** Takes the place of the accepted one. */
  socket: Socket | undefined
  readonly #reader: ByteReader
  readonly #taking: (take: () => void) => void
  #roomBytes = 0

  constructor(reader: ByteReader, taking: (take: () => void) => void) {
    this.#reader = reader
    this.#taking = taking
  }

  buffer(): Uint8Array {
    const room = this.#reader.buffer()
    this.#roomBytes = room.length
    return room
  }

  /** @returns whether reading goes on at once */
  filled(bytes: number): boolean {
    const more = bytes === this.#roomBytes
    readTurns.begins()
    this.#taking(() => this.#reader.filled(bytes))
    return readTurns.mayGoOn(this, bytes, more)
  }

  /** Who has paused it meanwhile resumes it. */
  goOn(): void {
    const { socket } = this
    if (socket !== undefined && !socket.destroyed && !socket.isPaused()) socket.resume()
  }
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
  const side = new ReadSide(reader, taking)
  side.socket = readBy(side, handle)
  return side.socket
}

/** A function of its own, so that what the socket holds for each connection is the side and nothing else. */
function readBy(side: ReadSide, handle: object): Socket {
  const onread = { buffer: () => side.buffer(), callback: (bytes: number) => side.filled(bytes) }
  const options: object = { handle, onread }
  return new Socket(options as SocketConstructorOpts)
}
