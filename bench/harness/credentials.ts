import type { ConnectOptions } from 'ratatoskr/client'

/** Options of a client that shows a token, or of one that has none. */
export const credentialsOf = (token: string | undefined): ConnectOptions =>
  token === undefined ? {} : { credentials: { kind: 'bearer', token } }
