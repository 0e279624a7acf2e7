/**
 * One request of a connection at a time. A client may send requests without waiting for the answers, and Node hands on at
 * once whatever it has read of them: hundreds, from a few kilobytes. Their answers leave one after the other all the same, so that
 * they would only wait in memory, for ever with a client that reads none.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type MaybePromise, RatatoskrError } from 'ratatoskr/ports'

const pipelines = new WeakMap<Socket, Pipeline>()

/**
 * Resolves when every request that came before on this connection is answered, and its answer has left.
 * @throws RTK_CANCELLED when the connection ends before
 */
export function turnOf({ socket }: IncomingMessage, response: ServerResponse): MaybePromise<void> {
  let pipeline = pipelines.get(socket)
  if (pipeline === undefined) {
    pipeline = new Pipeline(socket)
    pipelines.set(socket, pipeline)
  }
  return pipeline.turn(response)
}

class Pipeline {
  readonly #waiting: { begin(): void; refuse(error: RatatoskrError): void }[] = []
  #busy = false

  constructor(socket: Socket) {
    socket.once('close', () => {
      const error = new RatatoskrError(
        'RTK_CANCELLED',
        'the connection ended before the request had its turn',
      )
      for (const { refuse } of this.#waiting.splice(0)) refuse(error)
    })
  }

  turn(response: ServerResponse): MaybePromise<void> {
    if (!this.#busy) {
      this.#begin(response)
      return
    }
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        this.#begin(response)
        resolve()
      }
      this.#waiting.push({ begin, refuse: reject })
    })
  }

  #begin(response: ServerResponse): void {
    this.#busy = true
    response.once('close', () => {
      this.#busy = false
      this.#waiting.shift()?.begin()
    })
  }
}
