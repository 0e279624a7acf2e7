/** Two ends of a channel in one event loop: what is posted is cloned, and arrives when the test says so. */
import type { MeshChannel, MeshMessage } from '../mesh-channel.ts'

class End implements MeshChannel {
  readonly posted: MeshMessage[] = []
  other: End | undefined
  take: (message: MeshMessage) => void = () => {}
  closed: () => void = () => {}

  post(message: MeshMessage): void {
    this.posted.push(structuredClone(message))
  }

  open(take: (message: MeshMessage) => void, closed: () => void): void {
    this.take = take
    this.closed = closed
  }

  atTurnEnd(run: () => void): void {
    queueMicrotask(run)
  }

  close(): void {
    this.closed()
    this.other?.closed()
  }
}

export class ChannelDouble {
  readonly left = new End()
  readonly right = new End()
  /** Messages that have crossed, in either direction. */
  crossed = 0

  constructor() {
    this.left.other = this.right
    this.right.other = this.left
  }

  /** Lets everything cross, and what that causes, until all is quiet. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 20; quiet++) {
      await Promise.resolve()
      for (const end of [this.left, this.right]) {
        for (const message of end.posted.splice(0)) {
          quiet = 0
          this.crossed++
          end.other?.take(message)
        }
      }
    }
  }
}
