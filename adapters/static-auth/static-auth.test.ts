import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { authenticatorContract, authorizerContract } from 'ratatoskr/contract-tests'
import type { Action, Principal, Resource } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type AllowRule, type StaticTokensOptions, staticTokens } from './index.ts'
import { compilePattern } from './patterns.ts'

const alice = 'alice-token-0123456789'
const bob = 'bob-token-0123456789'
const carol = 'carol-token-0123456789'
const digest = `sha256:${createHash('sha256').update(carol).digest('hex')}`
const options: StaticTokensOptions = {
  tokens: {
    [alice]: {
      name: 'alice',
      allow: [
        {
          actions: ['topic:publish', 'topic:consume', 'group:consume'],
          topics: 'orders.**',
          groups: 'billing-*',
        },
        { actions: ['topic:*'], topics: ['logs.*', 'shared/public'] },
      ],
    },
    [bob]: { name: 'bob', namespace: 'team-b', allow: [{ actions: ['*'] }] },
    [digest]: { name: 'carol', allow: [] },
  },
}
const topic = (name: string, namespace = 'default'): Resource => ({ kind: 'topic', namespace, name })
const group = (name: string, ofTopic: string, namespace = 'default'): Resource => ({
  kind: 'group',
  namespace,
  topic: ofTopic,
  name,
})
const peer = { transport: 'http', address: '203.0.113.7:1', local: false, encrypted: true }
const done = async () => {}

authenticatorContract('static tokens, bearer and basic', async () => ({
  subject: staticTokens(options).authenticator,
  accepted: [
    { credentials: { kind: 'bearer', token: alice }, principal: { name: 'alice', namespace: 'default' } },
    { credentials: { kind: 'bearer', token: bob }, principal: { name: 'bob', namespace: 'team-b' } },
    { credentials: { kind: 'bearer', token: carol }, principal: { name: 'carol', namespace: 'default' } },
    {
      credentials: { kind: 'basic', username: 'bob', password: bob },
      principal: { name: 'bob', namespace: 'team-b' },
    },
  ],
  teardown: done,
}))

authorizerContract('static tokens, rules', async () => ({
  subject: staticTokens(options).authorizer,
  principal: { name: 'alice', namespace: 'default' },
  stranger: { name: 'mallory', namespace: 'default' },
  allowed: [
    ['topic:publish', topic('orders')],
    ['topic:publish', topic('orders.eu.paris')],
    ['topic:consume', topic('orders.eu')],
    ['group:consume', group('billing-1', 'orders.eu')],
    ['topic:delete', topic('logs.web')],
    ['topic:alter', topic('public', 'shared')],
  ],
  denied: [
    ['topic:delete', topic('orders')],
    ['topic:publish', topic('orders2')],
    ['topic:publish', topic('orders', 'shared')],
    ['topic:publish', topic('_orders')],
    ['group:consume', group('shipping', 'orders.eu')],
    ['group:consume', group('billing-1', 'logs.web')],
    ['group:seek', group('billing-1', 'orders.eu')],
    ['topic:publish', topic('logs')],
    ['topic:publish', topic('logs.web.access')],
    ['topic:alter', topic('public')],
    ['topic:alter', topic('private', 'shared')],
    ['broker:describe', { kind: 'broker' }],
  ],
  teardown: done,
}))

describe('rights', () => {
  const allows = async (
    principal: Principal,
    allow: readonly AllowRule[],
    action: Action,
    resource: Resource,
  ) => {
    const { authorizer } = staticTokens({ tokens: { [alice]: { ...principal, allow } } })
    return (await authorizer.grants(principal)).allows(action, resource)
  }
  const me = { name: 'me', namespace: 'mine' }

  it('reach the whole broker with a rule for all actions, but no topics of others', async () => {
    const all = [{ actions: ['*'] }]
    expect(await allows(me, all, 'broker:describe', { kind: 'broker' })).toBe(true)
    expect(await allows(me, all, 'topic:create', topic('a.b', 'mine'))).toBe(true)
    expect(await allows(me, all, 'topic:create', topic('a.b', 'default'))).toBe(false)
  })

  it('reach every namespace only where a rule says so', async () => {
    const everywhere = [{ actions: ['topic:*'], topics: '*/audit.*' }]
    expect(await allows(me, everywhere, 'topic:consume', topic('audit.x', 'other'))).toBe(true)
    expect(await allows(me, everywhere, 'topic:consume', topic('audit', 'other'))).toBe(false)
  })

  it('of two tokens of one principal are those of both', async () => {
    const { authorizer } = staticTokens({
      tokens: {
        [alice]: { name: 'me', allow: [{ actions: ['topic:publish'], topics: 'a' }] },
        [bob]: { name: 'me', allow: [{ actions: ['topic:consume'], topics: 'a' }] },
      },
    })
    const grants = await authorizer.grants({ name: 'me', namespace: 'default' })
    expect([grants.allows('topic:publish', topic('a')), grants.allows('topic:consume', topic('a'))]).toEqual([
      true,
      true,
    ])
    const other = await authorizer.grants({ name: 'me', namespace: 'other' })
    expect(other.allows('topic:publish', topic('a'))).toBe(false)
  })
})

describe('a token', () => {
  it('as a password counts only for its holder', async () => {
    const { authenticator } = staticTokens(options)
    const call = (username: string) =>
      authenticator.authenticate(peer, { kind: 'basic', username, password: bob })
    expect((await call('bob')).name).toBe('bob')
    await expect(call('alice')).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
  })

  it('is not the digest that stands in the configuration', async () => {
    const { authenticator } = staticTokens(options)
    for (const token of [digest, digest.slice('sha256:'.length)]) {
      const call = authenticator.authenticate(peer, { kind: 'bearer', token })
      await expect(call).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    }
  })

  it('may be as long as the bound, and not longer', async () => {
    const long = 'x'.repeat(4_096)
    const { authenticator } = staticTokens({ tokens: { [long]: { name: 'a', allow: [] } } })
    expect((await authenticator.authenticate(peer, { kind: 'bearer', token: long })).name).toBe('a')
  })
})

describe('a wrong configuration is refused', () => {
  const holder = { name: 'a', allow: [] }
  const rule = (allow: AllowRule) => ({ [alice]: { name: 'a', allow: [allow] } })
  it.each<[string, StaticTokensOptions['tokens']]>([
    ['a short token', { 'too-short': holder }],
    ['an empty token', { '': holder }],
    ['a token that is too long', { ['x'.repeat(4_097)]: holder }],
    ['a wrong digest', { 'sha256:abcdefabcdef': holder }],
    ['no name', { [alice]: { name: '', allow: [] } }],
    ['a namespace with a slash', { [alice]: { ...holder, namespace: 'a/b' } }],
    ['an unknown action', rule({ actions: ['topic:burn'] })],
    ['an unknown kind of action', rule({ actions: ['queue:*'] })],
    ['an empty pattern', rule({ actions: ['*'], topics: '' })],
    ['a pattern with an empty level', rule({ actions: ['*'], topics: 'a..b' })],
    ['a pattern with other characters', rule({ actions: ['*'], topics: 'a(b' })],
    ['a pattern with three stars', rule({ actions: ['*'], groups: 'a.***' })],
    ['two slashes', rule({ actions: ['*'], topics: 'a/b/c' })],
  ])('%s', (_, tokens) => {
    expect(() => staticTokens({ tokens })).toThrow(expect.objectContaining({ code: 'RTK_CONFIG_INVALID' }))
  })

  it('without telling the token', () => {
    const secret = 'hunter2'
    expect(() => staticTokens({ tokens: { [secret]: holder } })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(secret) }),
    )
  })
})

describe('patterns', () => {
  it.each<[string, readonly string[], readonly string[]]>([
    ['orders', ['orders'], ['order', 'orders.eu', 'orders2', 'Orders']],
    ['*', ['a', 'orders'], ['a.b', '_a']],
    ['**', ['a', 'a.b.c'], ['_a', '_a.b']],
    ['orders.*', ['orders.eu'], ['orders', 'orders.eu.x']],
    ['orders.**', ['orders', 'orders.eu', 'orders.eu.x'], ['orders2', 'my.orders']],
    ['**.eu', ['eu', 'orders.eu', 'a.b.eu'], ['orders.eu2', 'eu.x', '_a.eu']],
    ['a.**.z', ['a.z', 'a.b.z', 'a.b.c.z'], ['a', 'z', 'az', 'a.b']],
    ['a.**.b.**.c', ['a.b.c', 'a.x.b.b.y.c'], ['a.c', 'a.b.b', 'a.c.b']],
    ['*-eu', ['orders-eu', '-eu'], ['orders', 'orders-eu2', 'x.orders-eu']],
    ['o*r*s', ['ors', 'orders'], ['o.r.s', 'order']],
    ['_*', ['_a'], ['a', '_a.b']],
    ['_internal.**', ['_internal', '_internal.x'], ['internal']],
    ['a.*.*', ['a.b.c'], ['a.b', 'a.b.c.d']],
  ])('%s', (pattern, covered, others) => {
    const matches = compilePattern(pattern)
    expect(covered.filter((name) => !matches(name))).toEqual([])
    expect(others.filter((name) => matches(name))).toEqual([])
  })

  it('agree with a plain definition by regular expression', () => {
    const level = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '*b', '**')
    const name = fc.array(fc.constantFrom('a', 'b', 'ab', 'aab', 'ba'), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(fc.array(level, { minLength: 1, maxLength: 4 }), name, (levels, names) => {
        const source = levels
          .map((one) => (one === '**' ? '(?:[^.]+\\.)*' : `${one.replaceAll('*', '[^.]*')}\\.`))
          .join('')
        expect(compilePattern(levels.join('.'))(names.join('.'))).toBe(
          new RegExp(`^${source}$`).test(`${names.join('.')}.`),
        )
      }),
    )
  })

  it('take no more than the product of the lengths', () => {
    const matches = compilePattern(`${'a*'.repeat(100)}b`)
    const before = performance.now()
    expect(matches('a'.repeat(249))).toBe(false)
    expect(performance.now() - before).toBeLessThan(1_000)
  })
})
