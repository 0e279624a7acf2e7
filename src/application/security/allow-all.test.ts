import { expect, it } from 'vitest'
import { allowAllAuthorizer, anonymous, anonymousAuthenticator } from './index.ts'

const peer = { transport: 'test', address: 'embedded', local: true, encrypted: false }

it('knows everybody as anonymous, whatever they bring, and asks for nothing', async () => {
  expect(anonymousAuthenticator.requiresCredentials).toBe(false)
  const principal = await anonymousAuthenticator.authenticate(peer, { kind: 'bearer', token: 'whatever' })
  expect(principal).toEqual({ name: 'anonymous', namespace: 'default' })
  expect(Object.isFrozen(principal)).toBe(true)
})

it('allows everything', async () => {
  const grants = await allowAllAuthorizer.grants(anonymous)
  expect(grants.allows('topic:delete', { kind: 'topic', namespace: 'other', name: '_internal' })).toBe(true)
  expect(grants.allows('broker:describe', { kind: 'broker' })).toBe(true)
})
