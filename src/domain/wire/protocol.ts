/**
 * The wire protocol of subprotocols `ratatoskr.v1+json` and `ratatoskr.v1+binary`: what brokers and clients both know.
 *
 * Requests, replies and events are JSON objects, one a text frame:
 *
 *     request  { "op": "createTopic", "id": 7, … }     id: 0 to 2^32 - 1, chosen by the client
 *     reply    { "id": 7, "ok": { … } }   or   { "id": 7, "error": { code, message, retryable, details } }
 *     event    { "event": "assigned", "subscription": 9, "partitions": [{ partition, offset }, …] }
 *              { "event": "message",  "subscription": 9, "message": { … } }           only in +json
 *              { "event": "dropped",  "subscription": 9, "partition": 0, "fromOffset": 4, "toOffset": 9 }
 *              { "event": "ended",    "subscription": 9, "error": { … } }             without error: the client closed it
 *              { "event": "error",    "error": { … } }    of a notification, or of a frame that ends the connection
 *
 * A subscription to a queue group, begun by `consume`, has events of its own, and `assigned` gives numbers of partitions:
 *
 *     event    { "event": "assigned", "subscription": 9, "partitions": [0, 2] }
 *              { "event": "leased",   "subscription": 9, "messages": [{ …, lease, attempt, redelivered, leaseMs }, …] }    only in +json
 *              { "event": "lost",     "subscription": 9, "ranges": [{ partition, lease, from, to }, …], "reason": "timeout" }
 *
 * A subscription is known by the id of the request that began it. Requests `credit`, `cancel` and `heartbeatSubscription`
 * may come without an id and then have no reply. The first frame may be a `hello` with credentials, for clients that cannot set request headers:
 *
 *     { "op": "hello", "id": 0, "token": "…" }   or   { "op": "hello", "id": 0, "username": "…", "password": "…" }
 *
 * Its reply tells the session, the limits, and the broker's clock as `timeMs`, Unix milliseconds: messages expire by it. One of
 * several workers says which it is, `"place": { "broker": "…", "worker": 1, "workers": 3 }`; topics are described with the worker
 * of each partition. Who has much to send to a partition of another worker, or to read from it, may open further connections to
 * the same address until one reaches that worker: the system spreads them. Nobody has to.
 *
 * Batches travel in +binary only, as binary frames (see frames.ts); in +json messages come one an event and go by the
 * operations `publish` and `publishMany`.
 */
export const jsonSubprotocol = 'ratatoskr.v1+json'
/** The subprotocol whose batches travel as binary frames. */
export const binarySubprotocol = 'ratatoskr.v1+binary'

/** Told in the reply to `hello`. Additions leave it as it is; what an older client would misread raises it. */
export const wireProtocolVersion = 1
