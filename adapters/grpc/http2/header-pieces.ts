/** Headers that come in several frames, put together: in so many, and so large together. */
import { connectionError, http2Error } from './errors.ts'
import { headerListBytesMax } from './header-decoder.ts'

const piecesMax = 16

export class HeaderPieces {
  readonly streamId: number
  /** Of the frame that they begin with. */
  readonly flags: number
  bytes: Uint8Array
  #pieces = 1

  /** @param first may change afterwards, as every piece may */
  constructor(streamId: number, flags: number, first: Uint8Array) {
    this.streamId = streamId
    this.flags = flags
    this.bytes = Uint8Array.prototype.slice.call(first)
  }

  /** @throws Http2Error of the connection when it is too much */
  add(piece: Uint8Array): void {
    const begun = this.bytes
    if (begun.length + piece.length > headerListBytesMax || ++this.#pieces > piecesMax)
      throw connectionError(http2Error.ENHANCE_YOUR_CALM, 'the headers are too large')
    this.bytes = new Uint8Array(begun.length + piece.length)
    this.bytes.set(begun)
    this.bytes.set(piece, begun.length)
  }
}
