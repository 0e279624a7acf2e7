/**
 * What goes out over a connection: frames gather while something is worked on, and go out together. Small pieces are copied
 * together, for each piece of a write costs more than its bytes; large ones go from where they lie.
 */
import type { Duplex } from 'node:stream'

/** Smaller pieces are copied. */
const copiedBytesMax = 4 * 1024

export class Output {
  readonly #socket: Duplex
  #pieces: Uint8Array[] = []
  #smallBytes = 0
  /** Told when what has gathered is with the system. */
  #waiting: (() => void)[] = []
  #isScheduled = false
  #isHeld = false

  constructor(socket: Duplex) {
    this.#socket = socket
  }

  /** @param sent called when it is with the system, and not when the connection breaks before */
  write(piece: Uint8Array, sent?: () => void): void {
    this.#pieces.push(piece)
    if (piece.length <= copiedBytesMax) this.#smallBytes += piece.length
    if (sent !== undefined) this.#waiting.push(sent)
    if (this.#isScheduled || this.#isHeld) return
    this.#isScheduled = true
    // Behind what is decided in the same turn.
    process.nextTick(flush, this)
  }

  /** While `run` runs, nothing goes out; then all. */
  hold(run: () => void): void {
    this.#isHeld = true
    try {
      run()
    } finally {
      this.#isHeld = false
      if (!this.#isScheduled) this.flush()
    }
  }

  flush(): void {
    this.#isScheduled = false
    const { length } = this.#pieces
    if (length === 0) return
    const socket = this.#socket
    const sent = this.#waiting.length === 0 ? undefined : tell(this.#waiting)
    const pieces = this.#smallBytes === 0 || length === 1 ? this.#pieces : this.#together()
    this.#pieces = []
    this.#smallBytes = 0
    if (this.#waiting.length > 0) this.#waiting = []
    if (socket.destroyed || socket.writableEnded) return
    const last = pieces.length - 1
    if (last > 0) socket.cork()
    for (let i = 0; i < last; i++) socket.write(pieces[i])
    socket.write(pieces[last], sent)
    if (last > 0) socket.uncork()
  }

  /** The pieces, with small ones that follow each other as one. */
  #together(): Uint8Array[] {
    const small = Buffer.allocUnsafe(this.#smallBytes)
    const together: Uint8Array[] = []
    let at = 0
    let begun = 0
    for (const piece of this.#pieces) {
      if (piece.length <= copiedBytesMax) {
        small.set(piece, at)
        at += piece.length
        continue
      }
      if (at > begun) together.push(small.subarray(begun, at))
      begun = at
      together.push(piece)
    }
    if (at > begun) together.push(small.subarray(begun, at))
    return together
  }
}

const flush = (output: Output): void => output.flush()

const tell = (waiting: readonly (() => void)[]) => (error?: Error | null) => {
  if (error) return
  for (const sent of waiting) sent()
}
