/** Streams of `Consume` that end before their subscription stands. */
import { EventEmitter } from 'node:events'
import { setImmediate as soon } from 'node:timers/promises'
import type { BatchSink, BrokerFacade, LeaseSink, MaybePromise, Session } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import type { CallHost, OpenStream } from './calls.ts'
import { consume } from './consume.ts'
import { consumeLeases } from './consume-leases.ts'
import { platform } from './testing/harness.ts'

/** The broker's half of a call, whose other half is a test. */
class Call extends EventEmitter {
  readonly cancelled = false
  readonly written: unknown[] = []
  /** Says that the oldest write of those left has reached the network. */
  readonly sent: (() => void)[] = []
  pause(): void {}
  resume(): void {}
  end(): void {}
  fail(): void {}
  write(response: unknown, sent: () => void): boolean {
    this.written.push(response)
    this.sent.push(sent)
    return true
  }
}

const never = new Promise<never>(() => {})
const given = { partition: 0, fromOffset: 0, nextOffset: 1, bytes: new Uint8Array(70) }
const leased = {
  partition: 0,
  lease: 1,
  bytes: given.bytes,
  recordCount: 1,
  firstOffset: 0,
  lastOffset: 0,
  attempt: 1,
  redelivered: false,
  leaseMs: 1,
}

it.each(['topic', 'queue group'] as const)(
  'what came from a %s meanwhile is dropped, and nobody waits',
  async (kind) => {
    const delivering: MaybePromise<void>[] = []
    const session = {
      subscribe: (_topic: string, _options: object, sink: BatchSink) => {
        delivering.push(sink.deliver(given))
        return never
      },
      consume: (_topic: string, _options: object, sink: LeaseSink) => {
        delivering.push(sink.deliver(leased))
        return never
      },
    } as unknown as Session
    const streams = new Set<OpenStream>()
    const host = { connections: { session: async () => session }, streams, logger: platform.logger }
    const call = new Call()
    const start =
      kind === 'topic'
        ? consume(host as unknown as CallHost)
        : consumeLeases(host as unknown as CallHost, {} as BrokerFacade)
    start(call as never)
    await soon()
    call.emit('data', {
      open: { topic: 'orders', group: 'g', member: '', partitions: [], format: 1, autoAck: false },
    })
    await soon()
    for (const stream of streams) stream.drain()
    const outcome = await Promise.race([
      Promise.all(delivering).then(
        () => 'dropped',
        (error) => error.code,
      ),
      soon(undefined).then(() => soon('hangs')),
    ])
    expect(delivering).toHaveLength(1)
    expect(outcome).toBe(kind === 'topic' ? 'RTK_DISCONNECTED' : 'dropped')
    expect(call.written).toEqual([])
  },
)

it('some batches may wait for the network, and then the broker waits', async () => {
  let sink: BatchSink | undefined
  const session = {
    subscribe: async (_topic: string, _options: object, given: BatchSink) => {
      sink = given
      return { id: 's', topic: 'orders', group: undefined, member: '', close: async () => {} }
    },
  } as unknown as Session
  const host = {
    connections: { session: () => session },
    streams: new Set<OpenStream>(),
    logger: platform.logger,
  }
  const call = new Call()
  consume(host as unknown as CallHost)(call as never)
  call.emit('data', { open: { topic: 'orders', group: '', member: '', partitions: [], format: 1 } })
  await soon()
  call.sent.shift()?.()
  const batch = { ...given, bytes: new Uint8Array(100 * 1024) }
  expect([sink?.deliver(batch), sink?.deliver(batch)]).toEqual([undefined, undefined])
  let waits = true
  const full = sink?.deliver(batch)
  void Promise.resolve(full).then(() => {
    waits = false
  })
  expect(full).toBeInstanceOf(Promise)
  await soon()
  expect(waits).toBe(true)
  call.sent.shift()?.()
  await soon()
  expect(waits).toBe(false)
})
