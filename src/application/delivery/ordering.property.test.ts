/** R139, ordering: whatever happens around it, a subscriber gets each message once, in order, within its credit. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { DeliveryBench, gate, MessageSinkDouble, range, SinkDouble } from './testing/delivery-bench.ts'

const partitions = 3

type Step =
  | { readonly do: 'publish'; readonly partition: number; readonly count: number; readonly textSize: number }
  | { readonly do: 'subscribe' | 'subscribeMessages' }
  | { readonly do: 'grant'; readonly whom: number; readonly bytes: number; readonly messages: number }
  | { readonly do: 'stall' | 'resume' | 'close' | 'fail'; readonly whom: number }
  | { readonly do: 'recover'; readonly partition: number }
  | { readonly do: 'settle' }

const whom = fc.nat(5)
const partition = fc.nat(partitions - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('publish'),
      partition,
      count: fc.integer({ min: 1, max: 5 }),
      textSize: fc.constantFrom(1, 50, 2_000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('subscribe', 'subscribeMessages') }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('grant'),
      whom,
      bytes: fc.integer({ min: 0, max: 3_000 }),
      messages: fc.integer({ min: 0, max: 7 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('stall', 'resume', 'close', 'fail'), whom }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recover'), partition }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('settle') }) },
)

/** A subscriber, and what it may expect. */
interface Reader {
  readonly sink: SinkDouble | MessageSinkDouble
  grantedBytes: number
  largestGrant: number
  grantedMessages: number
  stalled: PromiseWithResolvers<void> | undefined
  failing: boolean
  over: boolean
}

async function addReader(bench: DeliveryBench, readers: Reader[], kind: 'subscribe' | 'subscribeMessages') {
  const sink = kind === 'subscribe' ? new SinkDouble() : new MessageSinkDouble()
  const reader: Reader = {
    sink,
    grantedBytes: 0,
    largestGrant: 0,
    grantedMessages: 0,
    stalled: undefined,
    failing: false,
    over: false,
  }
  sink.onDeliver = () => {
    expect(reader.over, 'no call after the end').toBe(false)
    if (reader.failing) {
      reader.over = true
      throw new Error('the sink fails')
    }
    return reader.stalled?.promise
  }
  if (sink instanceof SinkDouble) await bench.subscribe({ from: 'earliest' }, sink)
  else await bench.subscribeMessages({ from: 'earliest' }, sink)
  readers.push(reader)
}

function grant(reader: Reader, bytes: number, messages: number): void {
  reader.grantedBytes += bytes
  // What pays for a batch that was larger than the credit is no part of the window.
  const consumedBytes = reader.sink instanceof MessageSinkDouble ? 0 : reader.sink.bytes
  const windowBytes = Math.min(bytes, reader.grantedBytes - consumedBytes)
  reader.largestGrant = Math.max(reader.largestGrant, windowBytes)
  reader.grantedMessages += messages
  reader.sink.subscription.grant({ bytes, messages })
}

async function take(bench: DeliveryBench, readers: Reader[], one: Step): Promise<void> {
  switch (one.do) {
    case 'publish':
      return bench.publish(one.count, one.partition, 'y'.repeat(one.textSize))
    case 'subscribe':
    case 'subscribeMessages':
      return await addReader(bench, readers, one.do)
    case 'recover': {
      const { state, become } = bench.topic.partitions[one.partition]
      become.call(bench.topic.partitions[one.partition], state === 'online' ? 'recovering' : 'online')
      return
    }
    case 'settle':
      return await bench.clock.advance(1)
  }
  const reader = readers[one.whom]
  if (reader === undefined) return
  if (one.do === 'grant') grant(reader, one.bytes, one.messages)
  else if (one.do === 'stall') reader.stalled ??= gate()
  else if (one.do === 'fail') reader.failing = true
  else if (one.do === 'close') {
    reader.over = true
    await reader.sink.subscription.close()
  } else {
    reader.stalled?.resolve()
    reader.stalled = undefined
  }
}

function assertWithinCredit({ sink, grantedBytes, largestGrant, grantedMessages }: Reader): void {
  if (sink instanceof MessageSinkDouble) {
    expect(sink.messages.length).toBeLessThanOrEqual(grantedMessages)
    return
  }
  // Each delivery fitted what was left, or found the credit at the largest grant.
  const before = sink.bytes - (sink.deliveries.at(-1)?.bytes.length ?? 0)
  const fits = sink.bytes <= grantedBytes || grantedBytes - before >= largestGrant
  expect(fits, `${sink.bytes} bytes of ${grantedBytes}`).toBe(true)
}

function offsetsOf(sink: SinkDouble | MessageSinkDouble, of: number): number[] {
  if (sink instanceof SinkDouble) return sink.offsetsOf(of)
  return sink.messages.filter((message) => message.partition === of).map(({ offset }) => offset)
}

it.each([false, true])(
  'ordering: each message once and in order, within credit (slow reads: %s)',
  async (slow) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const bench = new DeliveryBench({ partitions, limits: { deliveryBytesMax: 1_000 } })
        if (slow) for (const one of bench.topic.partitions) one.slow = Promise.resolve()
        const readers: Reader[] = []
        for (const one of steps) {
          await take(bench, readers, one)
          for (const reader of readers) assertWithinCredit(reader)
        }
        for (const reader of readers) {
          for (const of of range(0, partitions)) {
            const offsets = offsetsOf(reader.sink, of)
            expect(offsets, 'in order, without gap or duplicate').toEqual(range(0, offsets.length))
          }
        }
        // Once nothing is in the way, whoever is still there gets everything.
        for (const one of bench.topic.partitions) one.become('online')
        for (const reader of readers) {
          reader.failing = false
          reader.stalled?.resolve()
          reader.stalled = undefined
          grant(reader, 10_000_000, 100_000)
        }
        await bench.clock.advance(10_000)
        for (const { sink, over } of readers) {
          expect(sink.ends).toHaveLength(over ? 1 : 0)
          if (over) continue
          for (const { index, endOffset } of bench.topic.partitions) {
            expect(offsetsOf(sink, index)).toEqual(range(0, endOffset))
          }
        }
      }),
      { numRuns: 300 },
    )
  },
)

it('topic survives random subscriber failures: those who stay get everything, and can be joined', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(9), fc.boolean()), { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 10 }),
      async (failures, count) => {
        const bench = new DeliveryBench()
        const failing = failures.map(([after, rejects]) => {
          const sink = new SinkDouble()
          sink.onDeliver = () => {
            if (sink.deliveries.length <= after) return
            if (rejects) return Promise.reject(new Error('rejects'))
            throw new Error('throws')
          }
          return sink
        })
        const steady = new SinkDouble()
        for (const sink of [...failing, steady]) {
          await bench.subscribe({ credit: { bytes: 10_000_000 } }, sink)
        }
        for (let i = 0; i < count; i++) {
          bench.publish(1)
          await bench.settle()
        }
        const late = await bench.subscribe({ from: 'earliest', credit: { bytes: 10_000_000 } })
        await bench.settle()
        expect(steady.offsetsOf(0)).toEqual(range(0, count))
        expect(late.offsetsOf(0)).toEqual(range(0, count))
        for (const [i, sink] of failing.entries()) {
          expect(sink.ends).toHaveLength(failures[i][0] < count ? 1 : 0)
          expect(sink.offsetsOf(0)).toEqual(range(0, Math.min(count, failures[i][0] + 1)))
        }
      },
    ),
    { numRuns: 100 },
  )
})
