/**
 * Authentication by tokens that stand in the configuration, and simple rules of what their holders may do.
 *
 * Tokens are kept as SHA-256 digests and compared in constant time against every one of them, so that neither memory
 * nor timing tells how close a guess was. Tokens must be random: a digest protects no password.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import {
  type Authenticator,
  type Authorizer,
  assertLabel,
  type Credentials,
  defaultNamespace,
  type Grants,
  type Peer,
  type Principal,
  RatatoskrError,
} from 'ratatoskr/ports'
import { type AllowRule, RuleGrants } from './rules.ts'

export type { AllowRule } from './rules.ts'

/** Who holds a token, and what he may do. */
export interface TokenHolder {
  readonly name: string
  /** The namespace of topics that the holder names without one; `default` otherwise. */
  readonly namespace?: string | undefined
  readonly allow: readonly AllowRule[]
}

/** Who may come in. */
export interface StaticTokensOptions {
  /**
   * Holders by token: at least 16 characters, or `sha256:` and the 64 hexadecimal digits of its digest, so that the
   * configuration need not hold the token. Holders of one name and namespace have each other's rights.
   */
  readonly tokens: Readonly<Record<string, TokenHolder>>
}

/** Both halves, for `createBroker({ security })`. */
export interface StaticTokens {
  readonly authenticator: Authenticator
  readonly authorizer: Authorizer
}

/** Longer tokens are wrong without being looked at. */
const tokenCharactersMax = 4_096
const tokenCharactersMin = 16
const digestPattern = /^sha256:([0-9a-f]{64})$/

/**
 * Makes an authenticator and the authorizer that goes with it. Tokens come as bearer tokens, or as the password of basic
 * authentication whose user name is the holder's.
 * @throws RTK_CONFIG_INVALID when a token is short, a name is wrong, or a rule names what does not exist
 */
export function staticTokens(options: StaticTokensOptions): StaticTokens {
  const rules = new Map<string, AllowRule[]>()
  const entries = Object.entries(options.tokens).map(([token, holder]) => {
    const principal = principalOf(holder)
    const key = keyOf(principal)
    rules.set(key, [...(rules.get(key) ?? []), ...holder.allow])
    return { digest: digestOf(token, holder.name), principal }
  })
  const grants = new Map(
    entries.map(({ principal }) => {
      const key = keyOf(principal)
      return [key, new RuleGrants(rules.get(key) ?? [], principal.namespace)]
    }),
  )
  return {
    authenticator: new TokenAuthenticator(entries),
    authorizer: { grants: (principal) => Promise.resolve(grants.get(keyOf(principal)) ?? nothing) },
  }
}

const nothing: Grants = Object.freeze({ allows: () => false })

/** A slash is in no namespace. */
const keyOf = ({ namespace, name }: Principal): string => `${namespace}/${name}`

interface TokenEntry {
  readonly digest: Uint8Array
  readonly principal: Principal
}

class TokenAuthenticator implements Authenticator {
  readonly requiresCredentials = true
  readonly #entries: readonly TokenEntry[]

  constructor(entries: readonly TokenEntry[]) {
    this.#entries = entries
  }

  async authenticate(_peer: Peer, credentials: Credentials): Promise<Principal> {
    const principal = this.#find(tokenOf(credentials))
    const named = credentials.kind !== 'basic' || credentials.username === principal?.name
    if (principal !== undefined && named) return principal
    throw new RatatoskrError('RTK_UNAUTHENTICATED', 'a valid token is needed: none was given, or a wrong one')
  }

  /** Goes through all entries whatever it finds: the time says nothing about which one it was. */
  #find(token: string): Principal | undefined {
    const digest = sha256(token.length > tokenCharactersMax ? '' : token)
    let found: Principal | undefined
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.principal
    return found
  }
}

function tokenOf(credentials: Credentials): string {
  switch (credentials.kind) {
    case 'bearer':
      return credentials.token
    case 'basic':
      return credentials.password
    case 'none':
      return ''
  }
}

const sha256 = (text: string): Uint8Array => createHash('sha256').update(text, 'utf8').digest()

function digestOf(token: string, holder: string): Uint8Array {
  const hex = digestPattern.exec(token)?.[1]
  if (hex !== undefined) return Buffer.from(hex, 'hex')
  if (
    token.length >= tokenCharactersMin &&
    token.length <= tokenCharactersMax &&
    !token.startsWith('sha256:')
  ) {
    return sha256(token)
  }
  throw new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `the token of ${JSON.stringify(holder)} must have ${tokenCharactersMin} to ${tokenCharactersMax} characters, ` +
      'or be sha256: and 64 lower-case hexadecimal digits',
  )
}

function principalOf({ name, namespace = defaultNamespace }: TokenHolder): Principal {
  if (typeof name !== 'string' || name === '' || name.length > 256) {
    throw new RatatoskrError('RTK_CONFIG_INVALID', 'a token holder has a name of 1 to 256 characters')
  }
  try {
    assertLabel('namespace', namespace)
  } catch (cause) {
    throw new RatatoskrError('RTK_CONFIG_INVALID', `the namespace of ${JSON.stringify(name)} is no label`, {
      cause,
    })
  }
  return Object.freeze({ name, namespace })
}
