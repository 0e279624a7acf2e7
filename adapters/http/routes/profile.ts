/** Profiles of the running broker, for those who hold the permission `broker:profile`. */
import type { FastifyInstance } from 'fastify'
import type { ProfileRequest } from 'ratatoskr/ports'
import { abortWaiting, type RouteContext, sessionOf } from '../route-context.ts'
import { object } from '../schemas.ts'

export function profileRoutes(routes: FastifyInstance, context: RouteContext): void {
  // A request that changes nothing, and yet no GET: a page or a link that is followed in passing must not start one.
  routes.post<{ Body: ProfileRequest }>(
    '/v1/profile',
    {
      schema: {
        tags: ['health'],
        summary: 'Take a profile of the broker: its processor time, or what it keeps on its heap',
        body: {
          ...object(
            {
              kind: { enum: ['cpu', 'heap'] },
              durationMs: { type: 'integer', minimum: 1, maximum: 60_000 },
            },
            ['kind', 'durationMs'],
          ),
          examples: [{ kind: 'cpu', durationMs: 20 }],
        },
        response: {
          200: {
            description: 'The profile, for the developer tools of Chrome',
            content: { 'application/json': { schema: { type: 'object', additionalProperties: true } } },
          },
        },
      },
    },
    async (request, reply) => {
      const session = await sessionOf(context, request)
      const profile = await session.profile(request.body, { signal: abortWaiting(context, reply) })
      const { kind } = request.body
      return reply
        .header('content-type', 'application/json')
        .header('content-disposition', `attachment; filename="broker.${kind}profile"`)
        .header('cache-control', 'no-store')
        .send(profile)
    },
  )
}
