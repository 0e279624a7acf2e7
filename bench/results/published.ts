/**
 * The figures that were published for the first Ratatoskr and as goals of MemoryStreamer, and which of our reports holds
 * what they are held against.
 */
import type { Asked } from '../harness/figures.ts'

interface Row {
  /** Whose figure it is. */
  readonly of: string
  readonly what: string
  readonly published: string
}

export type Published = Row &
  (
    | {
        /** Name of a report, and of the figure in it; of a comparison, what of it. */
        readonly report: string
        readonly figure: string
        readonly bound: Asked
      }
    | { readonly notComparable: string }
  )

const first = 'first broker'
const streamer = 'MemoryStreamer'

const ofFirst = (what: string, published: string, figure: string, bound: Asked): Published => ({
  of: first,
  what,
  published,
  report: 'first-broker',
  figure,
  bound,
})

const tiers = [
  { name: 'chat', rate: 1_000, p99Ms: 5, megabytes: 100 },
  { name: 'iot', rate: 5_000, p99Ms: 10, megabytes: 200 },
  { name: 'microservices', rate: 10_000, p99Ms: 50, megabytes: 500 },
  { name: 'streaming', rate: 25_000, p99Ms: 100, megabytes: 1_000 },
]

const tierRows: readonly Published[] = tiers.flatMap(({ name, rate, p99Ms, megabytes }) =>
  (['memory', 'fsync'] as const).flatMap((kind): Published[] => {
    const row = { of: first, report: `tier-${name}` }
    const what = `${name}, ${rate.toLocaleString('en')}/s, ${kind}`
    return [
      {
        ...row,
        what: `${what}: p99`,
        published: `${p99Ms} ms`,
        figure: `${kind}: due to handled, p99`,
        bound: { atMost: p99Ms },
      },
      {
        ...row,
        what: `${what}: memory`,
        published: `< ${megabytes} MB`,
        figure: `${kind}: the broker, resident at most`,
        bound: { atMost: megabytes },
      },
    ]
  }),
)

const crowds = [
  { size: 50, rate: 30_000, megabytes: 64 },
  { size: 1_000, rate: 85_000, megabytes: 1_024 },
  { size: 10_000, rate: 200_000, megabytes: 4_096 },
]

const crowdRows: readonly Published[] = crowds.flatMap(({ size, rate, megabytes }): Published[] => {
  const row = { of: first, report: 'subscribers' }
  const what = `${size.toLocaleString('en')} subscribers`
  return [
    {
      ...row,
      what: `${what}: deliveries`,
      published: `${rate.toLocaleString('en')}/s`,
      figure: `${size} subscribers: deliveries`,
      bound: { atLeast: rate },
    },
    {
      ...row,
      what: `${what}: memory`,
      published: `${megabytes.toLocaleString('en')} MB`,
      figure: `${size} subscribers: the broker, resident`,
      bound: { atMost: megabytes },
    },
  ]
})

export const published: readonly Published[] = [
  ofFirst('messages a second', '74,771/s', 'one publisher, one subscriber', { atLeast: 74_771 }),
  ofFirst('5,000 messages, sustained', '99,850/s', '5,000 messages, sustained', { atLeast: 99_850 }),
  ofFirst('burst', '40,000/s', '40,000 messages at once', { atLeast: 40_000 }),
  ofFirst('latency p50', '0.029 ms', 'one each millisecond: p50', { atMost: 0.029 }),
  ofFirst('latency p99', '0.111 ms', 'one each millisecond: p99', { atMost: 0.111 }),
  ofFirst('latency, largest', '0.123 ms', 'one each millisecond: max', { atMost: 0.123 }),
  ofFirst('50 subscribers', '30,769/s', '50 subscribers: deliveries', { atLeast: 30_769 }),
  ofFirst('memory', '64 MB', 'resident, a broker in its program', { atMost: 64 }),
  ofFirst('memory for 50 subscribers', '2 MB', '50 subscribers: more resident', { atMost: 2 }),
  ofFirst('memory for 2,000 messages', '1.25 MB', '2,000 messages: more resident', { atMost: 1.25 }),
  {
    of: first,
    what: 'messages a second for each MB',
    published: '15,385/s',
    notComparable: 'the quotient of two rows above, of memory that grew by chance',
  },
  ofFirst('gRPC, one at a time', '9,496/s', 'gRPC, one at a time', { atLeast: 9_496 }),
  ofFirst('gRPC, one at a time: p99', '0.124 ms', 'gRPC, one at a time: p99', { atMost: 0.124 }),
  {
    of: first,
    what: 'gRPC, unary calls',
    published: '30,612/s',
    report: 'unary-grpc-bare',
    figure: 'messagesPerSecond',
    bound: { atLeast: 30_612 },
  },
  {
    of: first,
    what: 'a server: memory',
    published: '15 MB',
    report: 'footprint',
    figure: 'resident when idle, all transports',
    bound: { atMost: 15 },
  },
  ofFirst('idle: of a processor', '2 %', 'idle, of a processor', { atMost: 2 }),
  ...tierRows,
  ...crowdRows,
  {
    of: streamer,
    what: 'messages a second, embedded, in batches',
    published: '10,000,000/s',
    report: 'embedded',
    figure: 'in batches',
    bound: { atLeast: 10_000_000 },
  },
  {
    of: streamer,
    what: 'messages a second over TCP, batches of 1 MiB',
    published: '10,000,000/s',
    report: 'stream-memory-tcp-1mib-batches',
    figure: 'messagesPerSecond',
    bound: { atLeast: 10_000_000 },
  },
  {
    of: streamer,
    what: 'end to end, embedded, at 100,000/s: p99',
    published: '10 µs',
    report: 'embedded',
    figure: 'at 100,000/s: p99',
    bound: { atMost: 10 },
  },
  {
    of: streamer,
    what: 'a remembered decision',
    published: '100 ns',
    report: 'authorize',
    figure: 'a remembered decision',
    bound: { atMost: 100 },
  },
  {
    of: streamer,
    what: 'throughput with security, of that without',
    published: '0.999 ×',
    report: 'authorize',
    figure: 'with / without',
    bound: { atLeast: 0.999 },
  },
  {
    of: streamer,
    what: 'checksums',
    published: '1,000 MB/s',
    report: 'checksum',
    figure: "the platform's",
    bound: { atLeast: 1_000 },
  },
  {
    of: streamer,
    what: 'throughput, beside Kafka',
    published: '10 ×',
    notComparable: 'Kafka was not run: Debian has no package of it, and it needs a Java virtual machine',
  },
  {
    of: streamer,
    what: 'latency, beside Kafka',
    published: '1 / 100',
    notComparable: 'Kafka was not run: Debian has no package of it, and it needs a Java virtual machine',
  },
]
