/** Topics: create, list, describe, alter, delete, count. */
import type { FastifyInstance } from 'fastify'
import { startPositionFromJson, type TopicConfig } from 'ratatoskr/ports'
import { type RouteContext, sessionOf } from '../route-context.ts'
import {
  done,
  object,
  offsetsSchema,
  positionSchema,
  topicConfigSchema,
  topicParams,
  topicSchema,
  topicStatsSchema,
} from '../schemas.ts'

interface TopicRoute {
  Params: { topic: string }
}

export function topicRoutes(routes: FastifyInstance, context: RouteContext): void {
  configurationRoutes(routes, context)
  lookupRoutes(routes, context)
}

const tags = ['topics']

function configurationRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.get(
    '/v1/topics',
    {
      schema: {
        tags,
        summary: 'List topics',
        response: { 200: object({ topics: { type: 'array', items: topicSchema } }) },
      },
    },
    async (request) => {
      const session = await sessionOf(context, request)
      return { topics: await session.listTopics() }
    },
  )

  routes.put<TopicRoute & { Body: Partial<TopicConfig> | undefined }>(
    '/v1/topics/:topic',
    {
      schema: {
        tags,
        summary: 'Create a topic; again with an equal configuration is no error',
        params: topicParams,
        body: {
          anyOf: [topicConfigSchema, { type: 'null' }],
          examples: [{ partitions: 4, retentionMs: 86_400_000 }],
        },
        response: { 200: topicSchema, 201: topicSchema },
      },
    },
    async (request, reply) => {
      const session = await sessionOf(context, request)
      const { created, topic } = await session.createTopic(request.params.topic, request.body ?? {})
      return reply.code(created ? 201 : 200).send(topic)
    },
  )

  routes.get<TopicRoute>(
    '/v1/topics/:topic',
    { schema: { tags, summary: 'Describe a topic', params: topicParams, response: { 200: topicSchema } } },
    async (request) => (await sessionOf(context, request)).describeTopic(request.params.topic),
  )

  routes.patch<TopicRoute & { Body: Partial<TopicConfig> }>(
    '/v1/topics/:topic',
    {
      schema: {
        tags,
        summary: 'Alter a topic; what is not given stays',
        params: topicParams,
        body: { ...topicConfigSchema, examples: [{ retentionMs: 3_600_000 }] },
        response: { 200: topicSchema },
      },
    },
    async (request) => (await sessionOf(context, request)).alterTopic(request.params.topic, request.body),
  )

  routes.delete<TopicRoute>(
    '/v1/topics/:topic',
    {
      schema: {
        tags,
        summary: 'Delete a topic and its messages',
        params: topicParams,
        response: done,
      },
    },
    async (request, reply) => {
      await (await sessionOf(context, request)).deleteTopic(request.params.topic)
      return reply.code(204).send()
    },
  )
}

function lookupRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.get<TopicRoute>(
    '/v1/topics/:topic/exists',
    {
      schema: {
        tags,
        summary: 'Whether a topic exists',
        params: topicParams,
        response: { 200: object({ exists: { type: 'boolean' } }) },
      },
    },
    async (request) => ({
      exists: await (await sessionOf(context, request)).topicExists(request.params.topic),
    }),
  )

  routes.post<TopicRoute>(
    '/v1/topics/:topic/resolve',
    {
      schema: {
        tags,
        summary: 'Describe a topic to publish to, creating it when the broker may',
        params: topicParams,
        response: { 200: topicSchema },
      },
    },
    async (request) => (await sessionOf(context, request)).resolveTopic(request.params.topic),
  )

  routes.get<TopicRoute>(
    '/v1/topics/:topic/stats',
    {
      schema: {
        tags,
        summary: 'Counts of a topic',
        params: topicParams,
        response: { 200: topicStatsSchema },
      },
    },
    async (request) => (await sessionOf(context, request)).topicStats(request.params.topic),
  )

  routes.post<TopicRoute & { Body: { position: unknown } }>(
    '/v1/topics/:topic/offsets',
    {
      schema: {
        tags,
        summary: 'The offset of a position, a partition each',
        params: topicParams,
        body: {
          ...object({ position: positionSchema }, ['position']),
          examples: [{ position: 'latest' }, { position: { timestampMs: 0 } }],
        },
        response: { 200: object({ offsets: offsetsSchema }) },
      },
    },
    async (request) => {
      const session = await sessionOf(context, request)
      return {
        offsets: await session.offsets(
          request.params.topic,
          startPositionFromJson(request.body.position, 'position'),
        ),
      }
    },
  )
}
