/** The first frame `hello`: credentials for clients that cannot set request headers, and what the broker says of itself. */
import type { BrokerFacade, Credentials, Peer, Session } from 'ratatoskr/ports'
import { jsonString, optional, RatatoskrError, readFields, wireProtocolVersion } from 'ratatoskr/ports'

const shape = { token: optional(jsonString), username: optional(jsonString), password: optional(jsonString) }

/**
 * The credentials in a hello; undefined when it has none.
 * @throws RTK_INVALID_ARGUMENT
 */
export function helloCredentials(fields: Readonly<Record<string, unknown>>): Credentials | undefined {
  const { token, username, password } = readFields(fields, shape)
  if (token !== undefined && username === undefined && password === undefined)
    return { kind: 'bearer', token }
  if (token === undefined && username !== undefined && password !== undefined) {
    return { kind: 'basic', username, password }
  }
  if (token === undefined && username === undefined && password === undefined) return undefined
  throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'hello takes a token, or username and password')
}

/** What a client learns when its session stands. */
export const helloReply = (
  session: Session,
  protocol: string,
  peer: Peer,
  { limits, platform, place }: Pick<BrokerFacade, 'limits' | 'platform' | 'place'>,
): object => ({
  protocol,
  version: wireProtocolVersion,
  session: session.id,
  timeMs: Math.floor(platform.clock.now()),
  // Behind a Unix socket there is one worker, however often one connects.
  place: peer.transport === 'unix' ? undefined : place,
  principal: { name: session.principal.name, namespace: session.principal.namespace },
  limits: {
    messageBytesMax: limits.messageBytesMax,
    batchBytesMax: limits.batchBytesMax,
    messagesPerBatchMax: limits.messagesPerBatchMax,
    creditBytesMax: limits.creditBytesMax,
    creditMessagesMax: limits.creditMessagesMax,
    fetchWaitMsMax: limits.fetchWaitMsMax,
  },
})
