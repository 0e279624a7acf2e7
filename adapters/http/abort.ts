/** A caller who hangs up stops waiting for his answer. */
import type { FastifyReply } from 'fastify'

/** Aborts when the connection closes before the reply is finished. */
export function abortOnClose(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort()
  })
  return controller.signal
}
