/** A port between two threads as a channel of the mesh. */
import type { MessagePort, Transferable } from 'node:worker_threads'
import type { MeshChannel, MeshMessage } from '../../application/index.ts'

export const portChannel = (port: MessagePort): MeshChannel => ({
  post(message) {
    const given: Transferable[] = []
    if (message.bytes !== undefined) given.push(message.bytes)
    if (message.numbers !== undefined) given.push(message.numbers.buffer)
    port.postMessage(message, given)
  },
  open(take, closed) {
    port.on('message', (message: MeshMessage) => take(message))
    port.on('close', closed)
  },
  atTurnEnd(run) {
    setImmediate(run)
  },
  close() {
    port.close()
  },
})
