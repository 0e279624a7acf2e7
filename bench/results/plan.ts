/**
 * What `npm run bench -- all` runs, in this order: every figure that is asked for, once. Flags given to `all` go before
 * those that stand here, which win.
 */

export interface Planned {
  /** Of the report's file, and of its place in the results. */
  readonly name: string
  readonly scenario: string
  readonly flags: readonly string[]
  /** Measured for comparison: what is asked of the scenario is asked with its own settings. */
  readonly onlyReported?: true
}

const planned = (scenario: string, ...flags: readonly string[]): Planned => ({
  name: scenario,
  scenario,
  flags,
})

/** The same scenario with another setting. */
const variant = (scenario: string, suffix: string, ...flags: readonly string[]): Planned => ({
  name: `${scenario}-${suffix}`,
  scenario,
  flags,
  onlyReported: true,
})

const peers = '--peers'
/** Over other transports the peers are the same: one of them says how fast the machine was just then. */
const nats = ['--peer', 'nats-core']
const kib = ['--payload', '1024']
/** What is measured is many short things, or what the first second shows as well as the third. */
const shortly = ['--seconds', '1']
/** What is asked for is one long time. */
const once = ['--runs', '1']

export const plan: readonly Planned[] = [
  planned('stream-memory-tcp', peers),
  variant('stream-memory-tcp', '1mib-batches', '--batch', '1048576'),
  variant('stream-memory-tcp', '1kib', ...kib, ...nats),
  planned('stream-memory-ws', ...nats),
  variant('stream-memory-ws', '1kib', ...kib, ...nats),
  planned('stream-memory-grpc', ...nats),
  variant('stream-memory-grpc', '1kib', ...kib, ...nats),
  planned('stream-fsync-tcp', peers),
  variant('stream-fsync-tcp', '1kib', ...kib, '--peer', 'redis-always', '--peer', 'jetstream-file'),
  planned('fanout-10', ...nats),
  planned('messages-ws', peers),
  planned('unary-grpc'),
  planned('unary-grpc-bare'),
  planned('unary-grpc-workers'),
  planned('pingpong-tcp', peers),
  planned('pingpong-ws', peers),
  planned('latency-10k-memory', peers),
  planned('latency-10k-fsync', peers),
  planned('embedded'),
  planned('allocations', ...shortly),
  planned('authorize'),
  planned('workers'),
  planned('subscribers'),
  planned('overload-memory', ...once, '--seconds', '60'),
  planned('overload-fsync', ...once, '--seconds', '60'),
  planned('noisy-memory'),
  planned('noisy-fsync'),
  planned('footprint'),
  planned('tier-chat'),
  planned('tier-iot'),
  planned('tier-microservices'),
  planned('tier-streaming'),
  planned('floors', ...shortly),
  planned('first-broker', ...shortly),
  planned('batch-sweep', ...shortly),
  planned('checksum'),
  planned('compression'),
  // Half an hour each: run by themselves, for a slope says the same on a busy machine.
  planned('soak', ...once, '--seconds', '1800'),
  planned('queue-soak', ...once, '--seconds', '1800'),
]

/** Those that `all` leaves to be run by themselves. */
export const alone: readonly string[] = ['soak', 'queue-soak']
