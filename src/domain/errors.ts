/**
 * Every error that Ratatoskr reports, in one table.
 *
 * A code is a promise: it never changes its meaning and is never used again for another. Messages may change.
 * Protocols do not know codes: each maps the code's `kind` once (gRPC status, HTTP status, WebSocket error frame,
 * exit code of the command), so that the same mistake looks the same everywhere.
 */

/** What sort of failure a code is. A protocol maps kinds, never single codes. */
export type ErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'denied'
  | 'not-found'
  | 'conflict'
  | 'out-of-range'
  | 'too-large'
  | 'limit'
  | 'unsupported'
  | 'unavailable'
  | 'timeout'
  | 'cancelled'
  | 'corrupt'
  | 'config'
  | 'internal'

interface ErrorFacts {
  readonly kind: ErrorKind
  /** True when the same call may succeed later without being changed. */
  readonly retryable: boolean
  /** One line for the reference: what happened and what to do. */
  readonly summary: string
}

const invalid = (summary: string): ErrorFacts => ({ kind: 'invalid', retryable: false, summary })
const fact = (kind: ErrorKind, summary: string): ErrorFacts => ({ kind, retryable: false, summary })
const passing = (kind: ErrorKind, summary: string): ErrorFacts => ({ kind, retryable: true, summary })

/** The table of codes. Documented in the README; a test holds the two together. */
export const errorCodes = {
  RTK_INVALID_ARGUMENT: invalid(
    'A field is missing, unknown, or of the wrong type or range. Correct the call.',
  ),
  RTK_TOPIC_NAME_INVALID: invalid(
    'The topic name breaks the naming rule. Use 1 to 249 of A-Z a-z 0-9 . _ -, no empty level.',
  ),
  RTK_HEADER_INVALID: invalid(
    'A header name or value is refused: reserved prefix, control characters, too many or too long.',
  ),
  RTK_BATCH_MALFORMED: invalid(
    'The bytes are not a record batch of magic 2, or its records do not add up. Rebuild the batch.',
  ),
  RTK_BATCH_CRC_MISMATCH: invalid('The CRC-32C of the batch does not match its bytes. Send it again.'),
  RTK_FRAME_MALFORMED: invalid(
    'A protocol frame could not be read. Check the client against the protocol version.',
  ),
  RTK_MESSAGE_TOO_LARGE: fact(
    'too-large',
    'A message is above the limit of the topic or the broker. Split it or raise the limit.',
  ),
  RTK_BATCH_TOO_LARGE: fact(
    'too-large',
    'A batch or request is above the limit. Send smaller batches or raise the limit.',
  ),
  RTK_UNAUTHENTICATED: fact('unauthenticated', 'The peer gave no credentials, or wrong ones.'),
  RTK_PERMISSION_DENIED: fact(
    'denied',
    'The principal may not do this here. Ask for the permission the message names.',
  ),
  RTK_TOPIC_NOT_FOUND: fact('not-found', 'No such topic. Create it, or turn on autoCreateTopics.'),
  RTK_PARTITION_NOT_FOUND: fact(
    'not-found',
    'The topic has no such partition. Ask for its partitions again.',
  ),
  RTK_GROUP_NOT_FOUND: fact(
    'not-found',
    'The consumer group has neither members nor committed offsets on this topic.',
  ),
  RTK_GROUP_MISMATCH: fact(
    'conflict',
    'The group exists as the other kind (stream or queue), or with other settings. Use another name, or alter the group.',
  ),
  RTK_SUBSCRIPTION_NOT_FOUND: fact('not-found', 'No such subscription on this session; it may have ended.'),
  RTK_TOPIC_EXISTS: fact(
    'conflict',
    'A topic of this name exists with another configuration. Alter it, or choose another name.',
  ),
  RTK_TOPIC_DELETED: fact('not-found', 'The topic was deleted while it was in use.'),
  RTK_VERSION_CONFLICT: fact(
    'conflict',
    'The state entry was changed by someone else. Read it again, then retry.',
  ),
  RTK_OFFSET_CONFLICT: fact(
    'conflict',
    'An append did not start at the end of the log: another writer was faster.',
  ),
  RTK_SEQUENCE_OUT_OF_ORDER: fact(
    'conflict',
    'A batch of an idempotent producer is not the one that must come next, or its producer was forgotten. Send what is missing, mark the batch as one after a gap, or take a new producer id.',
  ),
  RTK_PRODUCER_FENCED: fact(
    'conflict',
    'A newer epoch of the same producer id has published here. Take a new producer id.',
  ),
  RTK_LEASE_LOST: fact(
    'conflict',
    'The lease on the message, or the partition, is held by another now, or by nobody. What was asked for changed nothing; go on with what is assigned or delivered next.',
  ),
  RTK_OFFSET_OUT_OF_RANGE: fact(
    'out-of-range',
    'The offset is before the first or after the last message. Seek to earliest or latest.',
  ),
  RTK_LIMIT_EXCEEDED: fact(
    'limit',
    'A configured limit is reached. Remove something or raise the limit that the message names.',
  ),
  RTK_OVERLOADED: passing(
    'limit',
    'The broker has more work queued than its bounds allow. Retry after a pause.',
  ),
  RTK_SUBSCRIBER_TOO_SLOW: fact(
    'limit',
    'The subscriber fell behind further than its `overflow` bound, with the policy `disconnect`. Read faster, or choose another policy or bound.',
  ),
  RTK_STORE_FULL: passing('limit', 'The storage has no room. Free space; publishing resumes by itself.'),
  RTK_NOT_SUPPORTED: fact('unsupported', 'This adapter or protocol cannot do that; its `supports` says so.'),
  RTK_DURABILITY_UNAVAILABLE: fact(
    'unsupported',
    'The storage cannot reach the durability asked for. Ask for less, or use another storage.',
  ),
  RTK_COMPRESSION_UNAVAILABLE: fact(
    'unsupported',
    'The batch is compressed with a codec that is not installed here.',
  ),
  RTK_UNAVAILABLE: passing('unavailable', 'The component is restarting or stopping. Retry after a pause.'),
  RTK_STORE_FAILED: passing(
    'unavailable',
    'The storage failed. Nothing that was refused is stored; the partition is being reopened.',
  ),
  RTK_DISCONNECTED: passing(
    'unavailable',
    'The connection is lost. A publish in flight may or may not be stored; a producer that is not idempotent, and asks again without a message id, may store it twice.',
  ),
  RTK_TIMEOUT: passing(
    'timeout',
    'No answer within the deadline. A publish may or may not be stored; whoever publishes it anew, without the message id on a topic with `dedupWindowMs`, may store it twice.',
  ),
  RTK_CANCELLED: fact('cancelled', 'The caller cancelled the call.'),
  RTK_CLOSED: fact('cancelled', 'The object was closed before the call.'),
  RTK_STORE_CORRUPT: fact(
    'corrupt',
    'Stored bytes are damaged. Run `ratatoskr log verify` on the data directory.',
  ),
  RTK_STORE_UNREADABLE: passing(
    'unavailable',
    'The medium failed to read stored bytes. Other offsets are not concerned; read again later, and check the disk.',
  ),
  RTK_STORE_LOCKED: fact(
    'conflict',
    'Another process uses the data directory. Stop it, or choose another directory.',
  ),
  RTK_STORE_FORMAT_UNKNOWN: fact(
    'config',
    'The data directory has a format that this version does not know. Use a newer version, or another directory.',
  ),
  RTK_HOOK_ERROR: fact('denied', 'A plugin guard failed, and guards fail closed. See the cause.'),
  RTK_HANDLER_FAILED: fact(
    'internal',
    "A subscription's handler failed on a message more often than retriesMax allows. See the cause.",
  ),
  RTK_PLUGIN_INVALID: fact(
    'config',
    'A plugin is missing what it requires, its name is taken, or it could not be set up. Correct the list of plugins.',
  ),
  RTK_CONFIG_INVALID: fact(
    'config',
    'A configuration value is wrong. The message names the key and where the value came from.',
  ),
  RTK_CONFIG_UNKNOWN_KEY: fact(
    'config',
    'A configuration key does not exist. The message suggests the nearest one.',
  ),
  RTK_INSECURE_BIND: fact(
    'config',
    'A transport would listen beyond loopback without authentication. Configure it, or say insecure: true.',
  ),
  RTK_ADDRESS_IN_USE: fact('config', 'The port is taken. Choose another port, or 0 for any free one.'),
  RTK_INTERNAL: fact('internal', 'A bug in Ratatoskr or an adapter. Please report it with the log line.'),
} as const satisfies Record<string, ErrorFacts>

/** A stable error code, such as `RTK_TOPIC_NOT_FOUND`. */
export type ErrorCode = keyof typeof errorCodes

/** Facts that a caller may need to act on an error, beside its message. Safe to send to remote callers. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>

/** The one error class. Branch on `code`, never on the message. */
export class RatatoskrError extends Error {
  static override readonly name = 'RatatoskrError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  /**
   * @param code a code of the table
   * @param message what was expected, what came, what to do; without secrets, paths or stacks
   * @param options `cause` is kept for logs and never leaves the process; `details` may leave it
   */
  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RatatoskrError'
    this.code = code
    this.details = options.details ?? {}
  }

  get kind(): ErrorKind {
    return errorCodes[this.code].kind
  }

  /** True when the same call may succeed later without being changed. */
  get retryable(): boolean {
    return errorCodes[this.code].retryable
  }
}

/** True for a `RatatoskrError`, or with `code` for one of that code; also across copies of the package. */
export function isRatatoskrError(error: unknown, code?: ErrorCode): error is RatatoskrError {
  if (!(error instanceof Error) || error.name !== 'RatatoskrError' || !('code' in error)) return false
  return code === undefined || error.code === code
}

/** True when `code` is in the table: for errors that arrive over a wire. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code)
}

/**
 * Makes any thrown value a `RatatoskrError`. A foreign error becomes `fallback` with a neutral message, so that no
 * path, stack or secret of its text reaches a remote caller; the original stays as `cause`.
 */
export function toRatatoskrError(error: unknown, fallback: ErrorCode = 'RTK_INTERNAL'): RatatoskrError {
  if (isRatatoskrError(error)) return error
  return new RatatoskrError(fallback, errorCodes[fallback].summary, { cause: error })
}
