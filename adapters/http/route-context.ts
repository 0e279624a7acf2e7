/** What routes need of the transport, and what every route asks of its request first. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { BrokerFacade, Session } from 'ratatoskr/ports'
import type { Sessions } from './sessions.ts'
import type { Streams } from './streams.ts'

export interface RouteContext {
  readonly broker: BrokerFacade
  readonly sessions: Sessions
  readonly streams: Streams
  readonly heartbeatMs: number
  /** Aborts when the transport stops. */
  readonly stopping: AbortSignal
}

/** The session of a request. @throws RTK_UNAUTHENTICATED, RTK_LIMIT_EXCEEDED */
export const sessionOf = (context: RouteContext, request: FastifyRequest): Promise<Session> =>
  context.sessions.of({ socket: request.raw.socket, authorization: request.headers.authorization })

/** A caller who hangs up stops waiting: aborts when the connection closes before the reply is finished. */
export function abortOnClose(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort()
  })
  return controller.signal
}

/** For calls that wait for messages: they must not hold up a transport that stops. */
export const abortWaiting = (context: RouteContext, reply: FastifyReply): AbortSignal =>
  AbortSignal.any([abortOnClose(reply), context.stopping])

/** Whether the Accept header names this very content type. */
export const accepts = (request: FastifyRequest, type: string): boolean =>
  (request.headers.accept ?? '').split(',').some((range) => mediaType(range) === type)

/** The media type of an Accept or Content-Type header, without its parameters. */
export const mediaType = (header: string | undefined): string =>
  (header ?? '').split(';', 1)[0].trim().toLowerCase()
