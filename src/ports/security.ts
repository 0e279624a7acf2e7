/**
 * Who is there and what they may do. Authentication happens once per connection; authorization is a synchronous lookup
 * in rules that were fetched then, so that it can stand before every operation.
 */

/** Where a connection comes from. */
export interface Peer {
  readonly transport: string
  /** Address as the transport sees it, such as `127.0.0.1:51234`; `embedded` in process. */
  readonly address: string
  /** True when the bytes cross no network: in process, a Unix socket, or loopback. */
  readonly local: boolean
  /** True on TLS. */
  readonly encrypted: boolean
}

/** What the peer brought to prove who it is. */
export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }

/** Who someone turned out to be. */
export interface Principal {
  readonly name: string
  /** The namespace of topics that the principal names without one. */
  readonly namespace: string
}

/** Finds out who a peer is, once per connection. */
export interface Authenticator {
  /** True when it tells peers apart by credentials: then a transport may listen beyond loopback. */
  readonly requiresCredentials: boolean
  /** @throws RTK_UNAUTHENTICATED, with the same message whatever was wrong */
  authenticate(peer: Peer, credentials: Credentials): Promise<Principal>
}

/** The named permissions, one or more operations each. */
export type Action =
  | 'topic:create'
  | 'topic:delete'
  | 'topic:alter'
  | 'topic:list'
  | 'topic:describe'
  | 'topic:publish'
  | 'topic:consume'
  | 'group:describe'
  | 'group:consume'
  | 'group:seek'
  | 'group:configure'
  | 'broker:describe'
  | 'broker:profile'

/** What an action is done to. Lists are filtered: `topic:list` is asked for each topic. */
export type Resource =
  | { readonly kind: 'broker' }
  | { readonly kind: 'topic'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'group'; readonly namespace: string; readonly topic: string; readonly name: string }

/** A principal's rights, fetched once. */
export interface Grants {
  allows(action: Action, resource: Resource): boolean
}

/** Finds out what a principal may do, once per session. */
export interface Authorizer {
  grants(principal: Principal): Promise<Grants>
}
