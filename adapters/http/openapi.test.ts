import { describe, expect, it } from 'vitest'
import { type Rig, startRig } from './testing/rig.ts'

interface MediaType {
  readonly schema: { readonly examples?: readonly unknown[] }
  readonly example?: unknown
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>
}

interface Operation {
  readonly summary: string
  readonly tags: readonly string[]
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, MediaType>> }
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: object }>>
}

/** The examples of a JSON body, wherever the document has them. */
function examplesOf({ requestBody }: Operation): readonly unknown[] {
  const media = requestBody?.content['application/json']
  if (media === undefined) return []
  if (media.example !== undefined) return [media.example]
  return media.schema.examples ?? Object.values(media.examples ?? {}).map(({ value }) => value)
}

async function operations({ call }: Rig): Promise<{ path: string; method: string; operation: Operation }[]> {
  const { paths } = (await call('GET', '/openapi.json')).json as {
    paths: Record<string, Record<string, Operation>>
  }
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
}

const routes = `
GET /healthz
GET /livez
GET /readyz
POST /v1/producers
POST /v1/profile
GET /v1/session
GET /v1/stats
GET /v1/topics
DELETE GET PATCH PUT /v1/topics/{topic}
GET /v1/topics/{topic}/dead-letters
POST /v1/topics/{topic}/dead-letters/purge
POST /v1/topics/{topic}/dead-letters/redrive
GET /v1/topics/{topic}/exists
GET /v1/topics/{topic}/groups
DELETE GET PATCH PUT /v1/topics/{topic}/groups/{group}
POST /v1/topics/{topic}/groups/{group}/ack
POST /v1/topics/{topic}/groups/{group}/commit
POST /v1/topics/{topic}/groups/{group}/consume
POST /v1/topics/{topic}/groups/{group}/extend
POST /v1/topics/{topic}/groups/{group}/fetch
POST /v1/topics/{topic}/groups/{group}/heartbeat
POST /v1/topics/{topic}/groups/{group}/leave
POST /v1/topics/{topic}/groups/{group}/nack
POST /v1/topics/{topic}/groups/{group}/pause
POST /v1/topics/{topic}/groups/{group}/release
POST /v1/topics/{topic}/groups/{group}/resume
POST /v1/topics/{topic}/groups/{group}/seek
POST /v1/topics/{topic}/groups/{group}/settle
POST /v1/topics/{topic}/groups/{group}/take
POST /v1/topics/{topic}/groups/{group}/terminate
GET POST /v1/topics/{topic}/messages
POST /v1/topics/{topic}/offsets
POST /v1/topics/{topic}/resolve
GET /v1/topics/{topic}/scheduled
DELETE /v1/topics/{topic}/scheduled/{id}
GET /v1/topics/{topic}/stats
GET /v1/topics/{topic}/subscribe
DELETE /v1/topics/{topic}/subscriptions/{subscription}
POST /v1/topics/{topic}/subscriptions/{subscription}/credit
POST /v1/topics/{topic}/subscriptions/{subscription}/settle`

/** What never ends, and what needs it: its examples are those of tests of their own. */
const streaming = (path: string): boolean => path.endsWith('/consume') || path.includes('{subscription}')

describe('the OpenAPI document', () => {
  it('is of version 3.1 and lists every route', async () => {
    const rig = await startRig()
    expect((await rig.call('GET', '/openapi.json')).json.openapi).toMatch(/^3\.1\./)
    const byPath = new Map<string, string[]>()
    for (const { path, method } of await operations(rig))
      byPath.set(path, [...(byPath.get(path) ?? []), method.toUpperCase()])
    const listed = [...byPath].map(([path, methods]) => `${methods.toSorted().join(' ')} ${path}`)
    const ofPath = (line: string) => line.slice(line.indexOf('/'))
    expect(listed.toSorted((a, b) => (ofPath(a) < ofPath(b) ? -1 : 1))).toEqual(routes.trim().split('\n'))
  })

  it('says of every route what it takes and answers, errors among it', async () => {
    for (const { path, method, operation } of await operations(await startRig())) {
      const at = `${method} ${path}`
      expect(operation.summary, at).toMatch(/\w/)
      expect(operation.tags, at).toHaveLength(1)
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path')
      expect(
        inPath.map(({ name }) => `{${name}}`),
        at,
      ).toEqual(path.match(/\{\w+\}/g) ?? [])
      const { default: problem, ...successes } = operation.responses
      expect(Object.keys(problem.content ?? {}), at).toEqual(['application/problem+json'])
      expect(Object.keys(successes).length, at).toBeGreaterThan(0)
      for (const [status, { content }] of Object.entries(successes))
        if (status !== '204') expect(Object.keys(content ?? {}).length, at).toBeGreaterThan(0)
      if (operation.requestBody !== undefined) expect(examplesOf(operation).length, at).toBeGreaterThan(0)
    }
  })

  it('gives examples of bodies that the routes accept', async () => {
    const rig = await startRig()
    let tried = 0
    for (const { path, method, operation } of await operations(rig)) {
      if (streaming(path)) continue
      for (const example of examplesOf(operation)) {
        const topic = `t${++tried}`
        if (method !== 'put' || path.includes('/groups/')) await rig.broker.createTopic(topic)
        const group = `/v1/topics/${topic}/groups/g`
        let lease = 0
        if (operation.tags[0] === 'queues') {
          await rig.broker.publish(topic, 'x')
          await rig.call('PUT', group, { sharing: 'shared', ackTimeoutMs: 60_000 })
          if (!path.endsWith('/take')) {
            const taken = (await rig.call('POST', `${group}/take`, { member: 'worker-1' })).json
            lease = (taken as unknown as { messages: { lease: number }[] }).messages[0].lease
          }
        } else if (path.includes('/groups/')) {
          await rig.broker.publish(topic, 'x')
          await rig.call('POST', `${group}/fetch`, { member: 'worker-1' })
        }
        const at = path.replace('{topic}', topic).replace('{group}', 'g')
        // The one number of an example that nobody can know before.
        const body: unknown = JSON.parse(JSON.stringify(example), (name, value) =>
          name === 'lease' && lease !== 0 ? lease : value,
        )
        const { status, text } = await rig.call(method.toUpperCase(), at, body)
        expect(status, `${method} ${path} ${text}`).toBeLessThan(300)
      }
    }
    expect(tried).toBeGreaterThanOrEqual(10)
  })
})
