import { request as post } from 'node:http'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import type { Plugin, ProfileStartedEvent } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { startRig } from './testing/rig.ts'

const tokenOf = (name: string): string => `the-token-of-${name}-is-long`
const bearer = (name: string) => ({ authorization: `Bearer ${tokenOf(name)}` })

/** A broker with those who may take profiles and those who may not, and what an audit log would hold. */
async function rigWithRoles() {
  const started: ProfileStartedEvent[] = []
  const denied: string[] = []
  const watch: Plugin = {
    name: 'watch',
    setup(context) {
      context.on('profileStarted', (event) => void started.push(event) as undefined)
      context.on(
        'denied',
        ({ principal, action }) => void denied.push(`${principal.name} ${action}`) as undefined,
      )
    },
  }
  const roles = {
    admin: ['*'],
    profiler: ['broker:profile'],
    viewer: ['broker:describe', 'topic:*'],
  }
  const tokens = Object.entries(roles).map(([name, actions]) => [
    tokenOf(name),
    { name, allow: [{ actions: actions.filter((action) => action !== 'topic:*'), topics: ['**'] }] },
  ])
  const security = staticTokens({ tokens: Object.fromEntries(tokens) })
  const rig = await startRig({ broker: { security, plugins: [watch] } })
  return { ...rig, started, denied }
}

const request = { kind: 'cpu', durationMs: 20 }

it('gives a profile to those who may have it, and tells the plugins', async () => {
  const { call, started } = await rigWithRoles()
  for (const name of ['admin', 'profiler']) {
    const { status, json, headers } = await call('POST', '/v1/profile', request, bearer(name))
    expect(status).toBe(200)
    expect(Object.keys(json)).toEqual(expect.arrayContaining(['nodes', 'samples', 'timeDeltas']))
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(headers.get('content-disposition')).toBe('attachment; filename="broker.cpuprofile"')
    expect(headers.get('cache-control')).toBe('no-store')
  }
  expect(started.map(({ principal, kind, durationMs }) => [principal.name, kind, durationMs])).toEqual([
    ['admin', 'cpu', 20],
    ['profiler', 'cpu', 20],
  ])
  const heap = await call('POST', '/v1/profile', { kind: 'heap', durationMs: 20 }, bearer('admin'))
  expect(Object.keys(heap.json)).toContain('head')
})

it('is for nobody else', async () => {
  const { call, started, denied } = await rigWithRoles()
  const codeFor = async (headers?: Record<string, string>) => {
    const { status, json } = await call('POST', '/v1/profile', request, headers)
    return [status, json.code]
  }
  expect(await codeFor(bearer('viewer'))).toEqual([403, 'RTK_PERMISSION_DENIED'])
  expect(await codeFor()).toEqual([401, 'RTK_UNAUTHENTICATED'])
  expect(await codeFor(bearer('stranger'))).toEqual([401, 'RTK_UNAUTHENTICATED'])
  expect(denied).toEqual(['viewer broker:profile'])
  expect(started).toEqual([])
})

it.each([
  [{ kind: 'cpu' }],
  [{ kind: 'cpu', durationMs: 60_001 }],
  [{ kind: 'cpu', durationMs: 0 }],
  [{ kind: 'snapshot', durationMs: 5 }],
  [{ kind: 'cpu', durationMs: 5, path: '/etc/x' }],
])('refuses %j', async (wrong) => {
  const { call } = await startRig()
  const { status, json } = await call('POST', '/v1/profile', wrong)
  expect([status, json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
})

it('takes one at a time, and ends it when the caller hangs up', async () => {
  const { call, url } = await startRig()
  const body = JSON.stringify({ kind: 'cpu', durationMs: 60_000 })
  const headers = { 'content-type': 'application/json', 'content-length': body.length }
  const long = post(`${url}/v1/profile`, { method: 'POST', headers }).on('error', () => undefined)
  long.end(body)
  await expect
    .poll(async () => (await call('POST', '/v1/profile', { kind: 'heap', durationMs: 1 })).status)
    .toBe(429)
  long.destroy()
  await expect.poll(async () => (await call('POST', '/v1/profile', request)).status).toBe(200)
})

it('does not hold up a broker that stops', async () => {
  const { call, broker } = await startRig()
  const long = call('POST', '/v1/profile', { kind: 'cpu', durationMs: 60_000 })
  await expect
    .poll(async () => (await call('POST', '/v1/profile', { kind: 'heap', durationMs: 1 })).status)
    .toBe(429)
  await broker.stop()
  expect((await long).status).toBe(503)
})
