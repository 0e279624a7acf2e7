/** Security of a broker that configures none: everybody may do everything, which is why it listens on loopback only. */
import {
  type Authenticator,
  type Authorizer,
  defaultNamespace,
  type Grants,
  type Principal,
} from '../../ports/index.ts'

/** Who everybody is without authentication. */
export const anonymous: Principal = Object.freeze({ name: 'anonymous', namespace: defaultNamespace })

/** Lets everybody in. Asks for no credentials, so that transports stay on loopback: see `assertBindAllowed`. */
export const anonymousAuthenticator: Authenticator = Object.freeze({
  requiresCredentials: false,
  authenticate: () => Promise.resolve(anonymous),
})

const everything: Grants = Object.freeze({ allows: () => true })

/** Lets everybody do everything. */
export const allowAllAuthorizer: Authorizer = Object.freeze({ grants: () => Promise.resolve(everything) })
