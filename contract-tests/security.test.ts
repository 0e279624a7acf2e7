import {
  type Authenticator,
  type Authorizer,
  type Credentials,
  type Principal,
  RatatoskrError,
  type Resource,
} from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { authenticatorCases, authorizerCases } from './security.ts'
import { failuresOf } from './suite.ts'

const teardown = async () => {}
const holders = new Map([
  ['alice-secret', 'alice'],
  ['bob-secret', 'bob'],
])
const refused = () => new RatatoskrError('RTK_UNAUTHENTICATED', 'wrong')
const tokenOf = (credentials: Credentials) => (credentials.kind === 'bearer' ? credentials.token : '')
const sound = (credentials: Credentials): Principal => {
  const name = holders.get(tokenOf(credentials))
  if (name === undefined) throw refused()
  return { name, namespace: 'default' }
}
const shared = { name: 'alice', namespace: 'default' }

const authenticator =
  (authenticate: (credentials: Credentials) => Principal, requires = true) =>
  async () => {
    const subject: Authenticator = {
      requiresCredentials: requires,
      authenticate: async (_peer, credentials) => authenticate(credentials),
    }
    const accepted = [...holders].map(([token, name]) => ({
      credentials: { kind: 'bearer' as const, token },
      principal: { name, namespace: 'default' },
    }))
    return { subject, accepted, teardown }
  }

describe('the authenticator contract', () => {
  it('passes what is sound', async () => {
    expect(await failuresOf(authenticatorCases, authenticator(sound))).toEqual([])
  })

  it.each<[string, (credentials: Credentials) => Principal, boolean?]>([
    ['lets everybody in', () => shared],
    [
      'takes the beginning of a token for it',
      (credentials) => {
        const token = [...holders.keys()].find((one) => one.startsWith(tokenOf(credentials)))
        return sound({ kind: 'bearer', token: token ?? '' })
      },
    ],
    ['trims', (credentials) => sound({ kind: 'bearer', token: tokenOf(credentials).trim() })],
    ['takes none for somebody', (credentials) => (credentials.kind === 'none' ? shared : sound(credentials))],
    [
      'throws another error',
      (credentials) => {
        if (!holders.has(tokenOf(credentials))) throw new Error('wrong')
        return sound(credentials)
      },
    ],
    [
      'says what was wrong',
      (credentials) => {
        if (credentials.kind === 'none') throw new RatatoskrError('RTK_UNAUTHENTICATED', 'no token')
        return sound(credentials)
      },
    ],
    [
      'repeats the token',
      (credentials) => {
        if (holders.has(tokenOf(credentials))) return sound(credentials)
        throw new RatatoskrError('RTK_UNAUTHENTICATED', `${tokenOf(credentials)} is unknown`)
      },
    ],
    [
      'gives out an object that a caller can change',
      (credentials) => (tokenOf(credentials) === 'alice-secret' ? shared : sound(credentials)),
    ],
    ['claims to need nothing, and refuses', sound, false],
  ])('catches one that %s', async (_, authenticate, requires) => {
    Object.assign(shared, { name: 'alice', namespace: 'default' })
    expect(await failuresOf(authenticatorCases, authenticator(authenticate, requires))).not.toEqual([])
  })
})

const mayPublish = (resource: Resource) => resource.kind === 'topic' && resource.name.startsWith('orders.')

const authorizer =
  (make: (principal: Principal) => (action: string, resource: Resource) => boolean) => async () => {
    const subject: Authorizer = {
      grants: async (principal) => {
        const allows = make(principal)
        return { allows }
      },
    }
    const topic = (name: string) => ({ kind: 'topic', namespace: 'default', name }) as const
    return {
      subject,
      principal: { name: 'alice', namespace: 'default' },
      stranger: { name: 'mallory', namespace: 'default' },
      allowed: [['topic:publish', topic('orders.a')] as const, ['topic:publish', topic('orders.b')] as const],
      denied: [['topic:delete', topic('orders.a')] as const, ['topic:publish', topic('bills.a')] as const],
      teardown,
    }
  }

describe('the authorizer contract', () => {
  const right = (action: string, resource: Resource) => action === 'topic:publish' && mayPublish(resource)

  it('passes what is sound', async () => {
    const one = authorizer((principal) => (principal.name === 'alice' ? right : () => false))
    expect(await failuresOf(authorizerCases, one)).toEqual([])
  })

  it.each<[string, (principal: Principal) => (action: string, resource: Resource) => boolean]>([
    ['allows everything', () => () => true],
    ['allows nothing', () => () => false],
    ['looks at no action', () => (_, resource) => mayPublish(resource)],
    ['knows no strangers', () => right],
    [
      'remembers by action alone',
      (principal) => {
        const known = new Map<string, boolean>()
        return (action, resource) => {
          const answer = known.get(action) ?? (principal.name === 'alice' && right(action, resource))
          known.set(action, answer)
          return answer
        }
      },
    ],
    [
      'looks names up in an object',
      (principal) => (action, resource) => {
        const rules: Record<string, boolean> = { 'orders.a': true, 'orders.b': true }
        if (resource.kind !== 'topic' || action !== 'topic:publish') return false
        return Boolean(rules[resource.name]) && (principal.name === 'alice' || resource.name in {})
      },
    ],
  ])('catches one that %s', async (_, make) => {
    expect(await failuresOf(authorizerCases, authorizer(make))).not.toEqual([])
  })
})
