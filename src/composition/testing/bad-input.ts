/**
 * What no client of ours sends: names, configurations, partitions, offsets, requests and batches, each with the codes that may
 * refuse it. `send` puts it on a link, past the client's own checks.
 */
import { nodeChecksum } from 'ratatoskr/adapters/node'
import type { Link } from '../../client/link.ts'
import {
  BatchBuilder,
  type ErrorCode,
  type FetchRequest,
  type Header,
  type SubscribeOptions,
  type TopicConfig,
  utf8,
} from '../../ports/index.ts'

const MIB = 1024 * 1024
/** The limits of the broker that refuses it: low, so that what is above them is quickly made. */
export const badInputLimits = { messagesPerBatchMax: 1_000, batchBytesMax: 4 * MIB, messageBytesMax: MIB }

const checksum = nodeChecksum()

/** A batch as a producer might make it that checks nothing. */
function batchOf(count: number, record: { headers?: readonly Header[]; payload?: Uint8Array } = {}) {
  const builder = new BatchBuilder({ checksum })
  const { headers, payload = utf8('x') } = record
  for (let i = 0; i < count; i++) builder.add({ payload, headers, timestampMs: 1_000 })
  return builder.build()
}

/** A batch changed at some bytes, its checksum made right again unless the change is below what it covers. */
function changed(change: (view: DataView, bytes: Uint8Array) => void, resum = true): Uint8Array {
  const bytes = batchOf(2).slice()
  const view = new DataView(bytes.buffer)
  change(view, bytes)
  if (resum) view.setUint32(17, checksum(bytes.subarray(21)))
  return bytes
}

interface BadInput {
  readonly what: string
  readonly code: ErrorCode | readonly ErrorCode[]
  readonly send: (link: Link) => unknown
}

const sink = { deliver() {}, ended() {} }
const badNames = [
  '',
  '.',
  '..',
  'a..b',
  '.a',
  'a.',
  'a b',
  'a/b/c',
  '../orders',
  '/etc/passwd',
  'naïve',
  '订单',
  'a\u0000b',
  'a\r\nb',
  '%2e%2e',
  '$sys',
  'x'.repeat(250),
  'x'.repeat(10_240),
]

const names: BadInput[] = badNames.flatMap((name) => {
  const code = 'RTK_TOPIC_NAME_INVALID'
  const shown = JSON.stringify(name.slice(0, 20))
  return [
    { what: `create ${shown}`, code, send: (link) => link.createTopic(name) },
    { what: `delete ${shown}`, code, send: (link) => link.deleteTopic(name) },
    { what: `describe ${shown}`, code, send: (link) => link.describeTopic(name) },
    { what: `resolve ${shown}`, code, send: (link) => link.resolveTopic(name) },
    { what: `publish to ${shown}`, code, send: (link) => link.publishBatch(name, 0, batchOf(1)) },
    { what: `subscribe to ${shown}`, code, send: (link) => link.subscribe(name, {}, sink) },
    { what: `stats of ${shown}`, code, send: (link) => link.topicStats(name) },
  ] satisfies BadInput[]
})

const invalid = 'RTK_INVALID_ARGUMENT'
const configs: BadInput[] = (
  [
    [{ partitions: 0 }, invalid],
    [{ partitions: -1 }, invalid],
    [{ partitions: 1.5 }, invalid],
    [{ partitions: Number.NaN }, invalid],
    [{ partitions: 1_025 }, invalid],
    [{ partitions: 2 ** 40 }, invalid],
    [{ retentionMs: -2 }, invalid],
    [{ retentionBytes: -5 }, invalid],
    [{ segmentBytes: 1 }, invalid],
    [{ segmentBytes: 2 ** 50 }, invalid],
    [{ messageBytesMax: 0 }, invalid],
    [{ messageBytesMax: 2 * MIB }, invalid],
    [{ durability: 'quorum' }, 'RTK_DURABILITY_UNAVAILABLE'],
    [{ durability: 'eternal' }, invalid],
    [{ retentionMS: 5 }, invalid],
    [JSON.parse('{"__proto__": {"partitions": 3}}'), invalid],
  ] as unknown as [Partial<TopicConfig>, ErrorCode][]
).flatMap(([config, code]): BadInput[] => [
  { what: `create with ${JSON.stringify(config)}`, code, send: (link) => link.createTopic('fresh', config) },
  { what: `alter to ${JSON.stringify(config)}`, code, send: (link) => link.alterTopic('orders', config) },
])

const noPartition = 'RTK_PARTITION_NOT_FOUND'
const partitions: BadInput[] = [2, -1, 1.5, Number.NaN, 2 ** 31, 2 ** 40].flatMap((partition): BadInput[] => {
  const code = [noPartition, invalid] as const
  return [
    {
      what: `publish to ${partition}`,
      code,
      send: (link) => link.publishBatch('orders', partition, batchOf(1)),
    },
    { what: `fetch of ${partition}`, code, send: (link) => link.fetch('orders', { partition, offset: 0 }) },
    {
      what: `subscribe to ${partition}`,
      code,
      send: (link) => link.subscribe('orders', { partitions: [partition] }, sink),
    },
    {
      what: `commit of ${partition}`,
      code,
      send: (link) => link.commit('orders', { group: 'billing', offsets: [{ partition, offset: 0 }] }),
    },
    {
      what: `seek of ${partition}`,
      code,
      send: (link) => link.seekGroup('orders', 'billing', { position: 'earliest', partitions: [partition] }),
    },
  ]
})

// What JSON and protocol buffers cannot carry as a whole number is malformed before it is out of range.
const outOfRange = ['RTK_OFFSET_OUT_OF_RANGE', invalid, 'RTK_FRAME_MALFORMED'] as const
const offsets: BadInput[] = [-1, 4, 1.5, Number.NaN, 2 ** 53].flatMap((offset): BadInput[] => [
  {
    what: `fetch at ${offset}`,
    code: outOfRange,
    send: (link) => link.fetch('orders', { partition: 0, offset }),
  },
  {
    what: `subscribe from ${offset}`,
    code: outOfRange,
    send: (link) => link.subscribe('orders', { from: { offset } }, sink),
  },
  {
    what: `subscribe from ${offset} of a partition`,
    code: outOfRange,
    send: (link) => link.subscribe('orders', { from: { offsets: [{ partition: 0, offset }] } }, sink),
  },
  {
    what: `commit ${offset}`,
    code: outOfRange,
    send: (link) => link.commit('orders', { group: 'billing', offsets: [{ partition: 0, offset }] }),
  },
  {
    what: `seek to ${offset}`,
    code: outOfRange,
    send: (link) => link.seekGroup('orders', 'billing', { position: { offset }, partitions: [0] }),
  },
])

const requests: BadInput[] = [
  { what: 'a time before 1970', send: (link: Link) => link.offsets('orders', { timestampMs: -1 }) },
  { what: 'no such position', send: (link: Link) => link.offsets('orders', 'middle' as 'latest') },
  { what: 'bytesMax of -1', send: fetching({ bytesMax: -1 }) },
  { what: 'waitMs of -1', send: fetching({ waitMs: -1 }) },
  { what: 'an empty group', send: (link: Link) => link.describeGroup('orders', '') },
  { what: 'a group with spaces', send: subscribing({ group: 'a b' }) },
  { what: 'a group as a path', send: subscribing({ group: '..' }) },
  { what: 'a group of 300', send: subscribing({ group: 'g'.repeat(300) }) },
  { what: 'a member with a NUL', send: subscribing({ group: 'billing', member: 'a\u0000' }) },
  { what: 'partitions with a group', send: subscribing({ group: 'billing', partitions: [0] }) },
].map((one) => ({ ...one, code: invalid }))

const limited: BadInput[] = [
  {
    what: 'metadata above the limit',
    code: 'RTK_LIMIT_EXCEEDED',
    send: (link) =>
      link.commit('orders', {
        group: 'billing',
        offsets: [{ partition: 0, offset: 1, metadata: 'm'.repeat(5_000) }],
      }),
  },
]

function fetching(request: Partial<FetchRequest>) {
  return (link: Link) => link.fetch('orders', { partition: 0, offset: 0, ...request })
}

function subscribing(options: SubscribeOptions) {
  return (link: Link) => link.subscribe('orders', options, sink)
}

function publishing(what: string, code: BadInput['code'], batch: () => Uint8Array): BadInput {
  return { what, code, send: (link) => link.publishBatch('orders', 0, batch()) }
}

const malformed = 'RTK_BATCH_MALFORMED'
const badHeaders = 'RTK_HEADER_INVALID'
const withHeaders = (what: string, headers: readonly Header[]): BadInput =>
  publishing(what, badHeaders, () => batchOf(1, { headers }))

const batches: BadInput[] = [
  publishing('no bytes', [malformed, invalid], () => new Uint8Array(0)),
  publishing('ten bytes', malformed, () => new Uint8Array(10)),
  publishing('zeros', malformed, () => new Uint8Array(100)),
  publishing('noise', malformed, () => new Uint8Array(200).map((_, i) => (i * 97 + 13) & 0xff)),
  publishing('a batch cut short', malformed, () => batchOf(3).slice(0, -1)),
  publishing('a batch with a tail', malformed, () => new Uint8Array([...batchOf(3), 0])),
  publishing(
    'a second batch that is none',
    malformed,
    () => new Uint8Array([...batchOf(1), ...new Uint8Array(80)]),
  ),
  publishing('a wrong checksum', 'RTK_BATCH_CRC_MISMATCH', () =>
    changed((view) => view.setUint32(17, 1), false),
  ),
  publishing('magic 1', malformed, () => changed((view) => view.setInt8(16, 1))),
  publishing('a length of -1', malformed, () => changed((view) => view.setInt32(8, -1))),
  publishing('a length of 2 GiB', malformed, () => changed((view) => view.setInt32(8, 0x7fffffff))),
  publishing('more records than counted', malformed, () => changed((view) => view.setInt32(57, 1))),
  publishing('fewer records than counted', malformed, () => changed((view) => view.setInt32(57, 3))),
  publishing('no records', malformed, () => changed((view) => view.setInt32(57, 0))),
  publishing('a wrong last delta', malformed, () => changed((view) => view.setInt32(23, 9))),
  publishing('a control batch', malformed, () => changed((view) => view.setInt16(21, 0x20))),
  publishing('no such codec', ['RTK_COMPRESSION_UNAVAILABLE', malformed], () =>
    changed((view) => view.setInt16(21, 7)),
  ),
  publishing('gzip that is none', malformed, () => changed((view) => view.setInt16(21, 1))),
  publishing('zstd that is none', malformed, () => changed((view) => view.setInt16(21, 4))),
  publishing('records that overrun', malformed, () => changed((_, bytes) => bytes.fill(0xff, 61, 64))),
  publishing('too many messages', 'RTK_BATCH_TOO_LARGE', () => batchOf(1_001)),
  publishing('too large a batch', 'RTK_BATCH_TOO_LARGE', () =>
    batchOf(5, { payload: new Uint8Array(MIB - 100) }),
  ),
  publishing('too large a message', 'RTK_MESSAGE_TOO_LARGE', () =>
    batchOf(1, { payload: new Uint8Array(MIB + 1) }),
  ),
  withHeaders('a reserved header', [['rtk-dead-letter-reason', utf8('x')]]),
  withHeaders('a header with CRLF', [['a\r\nset-cookie: b', utf8('x')]]),
  withHeaders('a header with NUL', [['a\u0000', utf8('x')]]),
  withHeaders('a header without a name', [['', utf8('x')]]),
  withHeaders('a header name of 257 bytes', [['x'.repeat(257), utf8('x')]]),
  withHeaders('a header value of 17 KiB', [['a', new Uint8Array(17 * 1024)]]),
  withHeaders(
    '10,000 headers',
    Array.from({ length: 10_000 }, (_, i): Header => [`h${i}`, utf8('')]),
  ),
]

/** All of it, by kind. */
export const badInput: readonly (readonly [kind: string, cases: readonly BadInput[]])[] = [
  ['names', names],
  ['configurations', configs],
  ['partitions', partitions],
  ['offsets', offsets],
  ['requests', requests],
  ['limits', limited],
  ['batches', batches],
]
