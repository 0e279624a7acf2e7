/** What is stored of a producer's messages when calls are refused, overtake each other, lose their answers and arrive twice. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import type { ErrorCode } from '../ports/index.ts'
import { rounds } from '../testing/rounds.ts'
import { clientOver } from './connect-with.ts'
import { FakeBroker } from './testing/fake-broker.ts'
import { type CallFate, forwardingLink } from './testing/forwarding-link.ts'
import { error } from './testing/producing.ts'
import { testPlatform } from './testing/test-platform.ts'

const fate: fc.Arbitrary<CallFate> = fc.record({
  delayMs: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(40) }),
  copyAfterMs: fc.option(fc.nat(700), { freq: 3, nil: undefined }),
  answerLost: fc.oneof(
    { weight: 9, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
})
interface Plan {
  readonly fates: readonly CallFate[]
  /** The store is full from one moment to the next, and has room from there to the one after. */
  readonly turnsMs: readonly number[]
  /** What publishes are told while it is full. */
  readonly refusal: ErrorCode
  /** Before each publish. */
  readonly pausesMs: readonly number[]
  /** When the broker starts again, by when the last start was. */
  readonly restartsMs: readonly number[]
  readonly timeoutMs: number
}

const plan: fc.Arbitrary<Plan> = fc.record({
  fates: fc.array(fate, { minLength: 5, maxLength: 40 }),
  turnsMs: fc.array(fc.integer({ min: 20, max: 600 }), { maxLength: 8 }),
  refusal: fc.constantFrom<ErrorCode>('RTK_STORE_FULL', 'RTK_HOOK_ERROR'),
  pausesMs: fc.array(fc.nat(60), { minLength: 5, maxLength: 40 }),
  timeoutMs: fc.constantFrom(150, 400, 2_000),
  restartsMs: fc.array(fc.integer({ min: 20, max: 600 }), { maxLength: 4 }),
})

interface Outcome {
  readonly stored: readonly number[]
  readonly codes: ReadonlyMap<number, string>
  readonly copies: boolean
}

async function run({ fates, turnsMs, refusal, pausesMs, timeoutMs, restartsMs }: Plan): Promise<Outcome> {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders', 1)
  let turn = 0
  const open = async () => forwardingLink(broker, clock, () => fates[turn++ % fates.length])
  const client = await clientOver(open, 1, {}, testPlatform(clock))
  const producer = client.producer({ timeoutMs })
  let full = false
  broker.refuse = () => (full ? error(refusal) : undefined)
  let atMs = 0
  for (const turnMs of turnsMs) {
    atMs += turnMs
    clock.after(atMs, () => {
      full = !full
    })
  }
  clock.after(atMs + 1, () => {
    full = false
  })
  let startMs = 0
  for (const restartMs of restartsMs) {
    startMs += restartMs
    clock.after(startMs, () => {
      broker.cut()
      broker.find('orders').partitions[0].restart()
    })
  }
  const codes = new Map<number, string>()
  for (let number = 0; number < 40; number++) {
    producer.publish('orders', `${number}`).then(
      () => codes.set(number, 'acked'),
      (failure) => codes.set(number, failure.code),
    )
    await clock.advance(pausesMs[number % pausesMs.length])
  }
  await clock.advance(10_000)
  const stored = broker.texts('orders').map(Number)
  return { stored, codes, copies: fates.some(({ copyAfterMs }) => copyAfterMs !== undefined) }
}

const isTrue = new Set(['acked', 'RTK_STORE_FULL', 'RTK_HOOK_ERROR', 'RTK_TIMEOUT', 'RTK_DISCONNECTED'])

it('stores each message once at most, the acknowledged ones for sure, all in order, and tells the true cause of a failure', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (planned) => {
      const { stored, codes, copies } = await run(planned)
      expect(stored).toEqual([...new Set(stored)].sort((a, b) => a - b))
      expect(codes.size).toBe(40)
      for (const [number, code] of codes) {
        expect(isTrue, `${number}`).toContain(code)
        if (code === 'acked') expect(stored).toContain(number)
        // Only a late copy can store what was refused, and only until the next message is stored.
        if (code === planned.refusal && !copies) expect(stored).not.toContain(number)
      }
    }),
    { numRuns: rounds(300, 100) },
  )
})
