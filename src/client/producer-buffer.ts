/** What a producer holds of messages that are not acknowledged, how much that may be, and who waits for room in it. */
import { RatatoskrError } from '../ports/index.ts'

export interface ProducerBufferBounds {
  readonly bufferBytesMax: number
  /** Publishes that may wait for room, or for their topic. */
  readonly waitingMax: number
  /** False: a full buffer refuses. */
  readonly waits: boolean
}

export class ProducerBuffer {
  readonly waits: boolean
  readonly #bytesMax: number
  readonly #waitingMax: number
  readonly #drain: () => void
  #bytes = 0
  #waiting = 0
  #room: PromiseWithResolvers<void> | undefined

  /** @param drain moves what waits into batches while there is room */
  constructor({ bufferBytesMax, waitingMax, waits }: ProducerBufferBounds, drain: () => void) {
    this.#bytesMax = bufferBytesMax
    this.#waitingMax = waitingMax
    this.waits = waits
    this.#drain = drain
  }

  get bytes(): number {
    return this.#bytes
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#bytesMax
  }

  /** How many bytes more it holds before it is full. */
  get roomBytes(): number {
    return this.#bytesMax - this.#bytes
  }

  took(bytes: number): void {
    this.#bytes += bytes
  }

  released(bytes: number): void {
    this.#bytes -= bytes
    if (!this.hasRoom) return
    if (this.#waiting > 0) this.#drain()
    if (!this.hasRoom) return
    this.#room?.resolve()
    this.#room = undefined
  }

  /** Resolves when there may be room. */
  room(): Promise<void> {
    this.#room ??= Promise.withResolvers<void>()
    return this.#room.promise
  }

  /** @throws RTK_OVERLOADED when there is no room */
  assertRoom(): void {
    if (!this.hasRoom) throw overloaded('bufferBytesMax', this.#bytesMax)
  }

  /** A message waits from now on. @throws RTK_OVERLOADED when too many do */
  entered(): void {
    if (this.#waiting >= this.#waitingMax) throw overloaded('waitingMax', this.#waitingMax)
    this.#waiting++
  }

  /** A message waits no longer. */
  left(): void {
    this.#waiting--
  }
}

const overloaded = (bound: string, value: number): RatatoskrError =>
  new RatatoskrError(
    'RTK_OVERLOADED',
    `the producer holds as much as it may (${bound}: ${value}); await earlier publishes, or raise the bound`,
  )
