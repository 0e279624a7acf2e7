/** The specifications of the `Authenticator` and `Authorizer` ports as suites. */
import {
  type Action,
  type Authenticator,
  type Authorizer,
  type Credentials,
  isRatatoskrError,
  type Peer,
  type Principal,
  type Resource,
} from 'ratatoskr/ports'
import { expect } from 'vitest'
import {
  type ContractCase,
  type ContractContext,
  type ContractOptions,
  defineContract,
  expectCode,
} from './suite.ts'

/** What the authenticator suite asks of a setup. */
export interface AuthenticatorContext extends ContractContext {
  readonly subject: Authenticator
  /** Credentials that are right, and who they belong to. At least two holders when the subject tells peers apart. */
  readonly accepted: readonly { readonly credentials: Credentials; readonly principal: Principal }[]
}

/** What the authorizer suite asks of a setup. */
export interface AuthorizerContext extends ContractContext {
  readonly subject: Authorizer
  readonly principal: Principal
  /** What the principal may do, and, unless the subject allows everything, what it may not. */
  readonly allowed: readonly AccessQuestion[]
  readonly denied: readonly AccessQuestion[]
  /** A principal without any rights; undefined when everybody has some. */
  readonly stranger: Principal | undefined
}

/** What a principal wants to do, and to what. */
export type AccessQuestion = readonly [action: Action, resource: Resource]

/** Runs the suite against an authenticator. */
export const authenticatorContract = (
  title: string,
  setup: () => Promise<AuthenticatorContext>,
  options?: ContractOptions,
): void => defineContract(title, authenticatorCases, setup, options)

/** Runs the suite against an authorizer. */
export const authorizerContract = (
  title: string,
  setup: () => Promise<AuthorizerContext>,
  options?: ContractOptions,
): void => defineContract(title, authorizerCases, setup, options)

const local: Peer = { transport: 'test', address: '127.0.0.1:51234', local: true, encrypted: false }
const remote: Peer = { transport: 'test', address: '203.0.113.7:443', local: false, encrypted: true }

/** Credentials that are nearly those, and everything that a hostile peer may send in their place. */
function wrongOnes(right: Credentials): readonly Credentials[] {
  const odd = [
    '',
    ' ',
    '\0',
    'null',
    'undefined',
    '__proto__',
    'constructor',
    '*',
    'é'.repeat(100),
    'x'.repeat(1_000_000),
  ]
  const wrong: Credentials[] = [{ kind: 'none' }]
  for (const token of [...odd, ...nearMisses(secretOf(right))]) {
    wrong.push({ kind: 'bearer', token }, { kind: 'basic', username: 'admin', password: token })
  }
  if (right.kind === 'basic') {
    wrong.push({ ...right, username: '' }, { ...right, username: `${right.username}x` })
    for (const password of nearMisses(right.password)) wrong.push({ ...right, password })
  }
  return wrong
}

const secretOf = (credentials: Credentials): string =>
  credentials.kind === 'bearer' ? credentials.token : credentials.kind === 'basic' ? credentials.password : ''

function nearMisses(secret: string): readonly string[] {
  const last = secret.charCodeAt(secret.length - 1)
  const near = [
    secret.slice(0, -1),
    secret.slice(1),
    `${secret}x`,
    `${secret}\0`,
    ` ${secret}`,
    `${secret} `,
    `${secret}\n`,
    secret.slice(0, -1) + String.fromCharCode(last ^ 1),
    secret + secret,
  ]
  return secret === '' ? [] : near
}

/** Every case of the authenticator suite, for running it on those that must fail it. */
export const authenticatorCases: readonly ContractCase<AuthenticatorContext>[] = [
  {
    name: 'right credentials give their principal, each time and from wherever',
    async run({ subject, accepted }) {
      expect(accepted.length).toBeGreaterThanOrEqual(subject.requiresCredentials ? 2 : 1)
      for (const peer of [local, remote, local]) {
        for (const { credentials, principal } of accepted) {
          expect(await subject.authenticate(peer, credentials)).toMatchObject(principal)
        }
      }
    },
  },
  {
    name: 'requiresCredentials is told before anyone connects, and true only when none is not enough',
    async run({ subject }) {
      expect(subject.requiresCredentials).toBeTypeOf('boolean')
      const call = () => subject.authenticate(local, { kind: 'none' })
      if (subject.requiresCredentials) await expectCode(call, 'RTK_UNAUTHENTICATED')
      else expect((await call()).name).toBeTypeOf('string')
    },
  },
  {
    name: 'wrong credentials are refused, also nearly right and hostile ones',
    async run({ subject, accepted }) {
      if (!subject.requiresCredentials) return expectEverybody(subject)
      for (const { credentials } of accepted) {
        for (const wrong of wrongOnes(credentials)) {
          await expectCode(() => subject.authenticate(remote, wrong), 'RTK_UNAUTHENTICATED')
        }
      }
    },
  },
  {
    name: 'a refusal is the same whatever was wrong, and repeats nothing of what was sent',
    async run({ subject, accepted }) {
      if (!subject.requiresCredentials) return expectEverybody(subject)
      const messages = new Set<string>()
      const [{ credentials }] = accepted
      for (const wrong of wrongOnes(credentials)) {
        const error = await subject.authenticate(remote, wrong).catch((caught: unknown) => caught)
        expect(isRatatoskrError(error, 'RTK_UNAUTHENTICATED')).toBe(true)
        messages.add(JSON.stringify([(error as Error).message, (error as { details?: unknown }).details]))
      }
      expect([...messages]).toHaveLength(1)
      expect([...messages][0]).not.toContain(secretOf(credentials))
    },
  },
  {
    name: 'many at once are each told apart',
    async run({ subject, accepted }) {
      const all = Array.from({ length: 100 }, (_, i) => accepted[i % accepted.length])
      const found = await Promise.all(all.map(({ credentials }) => subject.authenticate(remote, credentials)))
      for (const [i, principal] of found.entries()) expect(principal).toMatchObject(all[i].principal)
    },
  },
  {
    name: 'a principal that a caller changes does not change for the next',
    async run({ subject, accepted }) {
      const [{ credentials, principal }] = accepted
      const first: { name: string; namespace: string } = await subject.authenticate(local, credentials)
      try {
        first.name = 'root'
        first.namespace = 'other'
      } catch {
        // A frozen one is as good as a fresh one.
      }
      expect(await subject.authenticate(local, credentials)).toMatchObject(principal)
    },
  },
]

/** The other side of the flag: where no credentials are required, none are wrong. */
async function expectEverybody(subject: Authenticator): Promise<void> {
  for (const credentials of wrongOnes({ kind: 'bearer', token: 'some-token' })) {
    expect((await subject.authenticate(remote, credentials)).name).toBeTypeOf('string')
  }
}

/** Every case of the authorizer suite, for running it on those that must fail it. */
export const authorizerCases: readonly ContractCase<AuthorizerContext>[] = [
  {
    name: 'allows what it should, and nothing else',
    async run({ subject, principal, allowed, denied }) {
      const grants = await subject.grants(principal)
      for (const [action, resource] of allowed)
        expect([action, resource, grants.allows(action, resource)]).toEqual([action, resource, true])
      for (const [action, resource] of denied)
        expect([action, resource, grants.allows(action, resource)]).toEqual([action, resource, false])
    },
  },
  {
    name: 'answers at once and the same each time, in whatever order it is asked',
    async run({ subject, principal, allowed, denied }) {
      const grants = await subject.grants(principal)
      const questions = [
        ...allowed.map((one) => [...one, true] as const),
        ...denied.map((one) => [...one, false] as const),
      ]
      for (const round of [questions, [...questions].reverse(), questions]) {
        for (const [action, resource, expected] of round)
          expect(grants.allows(action, resource)).toBe(expected)
      }
    },
  },
  {
    name: 'goes by what the resource says, not by which object says it',
    async run({ subject, principal, allowed, denied }) {
      const grants = await subject.grants(principal)
      for (const [action, resource] of allowed)
        expect(grants.allows(action, structuredClone(resource))).toBe(true)
      for (const [action, resource] of denied)
        expect(grants.allows(action, structuredClone(resource))).toBe(false)
    },
  },
  {
    name: 'a principal that nobody knows may do nothing, which is no error',
    async run({ subject, stranger, allowed }) {
      if (stranger === undefined) return
      const grants = await subject.grants(stranger)
      for (const [action, resource] of allowed) expect(grants.allows(action, resource)).toBe(false)
    },
  },
  {
    name: 'names made to confuse a lookup are names like any other',
    async run({ subject, principal, stranger, denied }) {
      const names = ['__proto__', 'constructor', 'toString', 'a/b', 'a\0b', '*', '**', '', 'x'.repeat(10_000)]
      const grants = await subject.grants(stranger ?? principal)
      for (const name of names) {
        const answer = grants.allows('topic:publish', { kind: 'topic', namespace: 'default', name })
        expect(answer).toBe(stranger === undefined)
      }
      for (const [action, resource] of denied)
        expect((await subject.grants(principal)).allows(action, resource)).toBe(false)
    },
  },
  {
    name: 'is asked about a hundred thousand topics without growing slow or wrong',
    async run({ subject, principal, allowed, denied }) {
      const grants = await subject.grants(principal)
      for (let i = 0; i < 100_000; i++) {
        grants.allows('topic:describe', { kind: 'topic', namespace: 'default', name: `flood.${i}` })
      }
      for (const [action, resource] of allowed) expect(grants.allows(action, resource)).toBe(true)
      for (const [action, resource] of denied) expect(grants.allows(action, resource)).toBe(false)
    },
  },
]
