import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { TopReport } from './report.ts'
import { type Keys, Screen, textOf } from './screen.ts'

const broker = {
  uptimeMs: 93_784_000,
  topics: 2,
  partitions: 5,
  connections: 3,
  subscriptions: 1,
  inPerSecond: 1_000,
  inBytesPerSecond: 1_536,
  outPerSecond: 20,
  outBytesPerSecond: 12,
  cpuPercent: 57,
  loopDelayMs: 1.2,
  residentBytes: 96 * 1024 * 1024,
  heapBytes: 2 ** 31,
  bufferBytes: 0,
}
const group = {
  topic: 'orders',
  group: 'billing',
  kind: 'queue',
  state: 'stable',
  members: 2,
  inFlight: 1,
} as const
const row = { topic: 'orders', partitions: 4, messages: 12, bytes: 900, lagMax: 7, groups: 1 }
const report: TopReport = {
  time: '2026-01-01T00:00:00.000Z',
  broker,
  topics: [{ ...row, inPerSecond: 6, outPerSecond: 5 }],
  groups: [{ ...group, lag: 7, outPerSecond: 5 }],
}

it('is a head, a table of topics and a table of groups', () => {
  expect(textOf(report)).toBe(
    `up 1d 2h   connections 3   subscriptions 1   topics 2   partitions 5
in 1000/s, 1.5 KiB/s   out 20/s, 12 B/s
cpu 57 %   loop delay 1.2 ms   resident 96.0 MiB   heap 2.0 GiB   buffers 0 B

TOPIC   PARTITIONS  MESSAGES  BYTES  IN/S  OUT/S  LAG  GROUPS
orders  4           12        900 B  6     5      7    1

TOPIC   GROUP    KIND   STATE   MEMBERS  LAG  INFLIGHT  OUT/S
orders  billing  queue  stable  2        7    1         5
`,
  )
})

it.each([
  [5_000, 'up 5s '],
  [65_000, 'up 1m 5s '],
  [3_900_000, 'up 1h 5m '],
])('an uptime of %d ms is %j', (uptimeMs, text) =>
  expect(textOf({ ...report, broker: { ...broker, uptimeMs } }).startsWith(text)).toBe(true),
)

it('has dashes for what a broker does not tell', () => {
  const unknown = {
    cpuPercent: undefined,
    loopDelayMs: undefined,
    heapBytes: undefined,
    bufferBytes: undefined,
  }
  const text = textOf({ ...report, broker: { ...broker, ...unknown, residentBytes: undefined } })
  expect(text).toContain('\ncpu -   loop delay -   resident -   heap -   buffers -\n')
})

describe('the screen', () => {
  afterEach(() => vi.unstubAllEnvs())

  function rig(isTTY = true) {
    const out = Object.assign(new PassThrough(), { rows: 4, columns: 12 })
    const raw: boolean[] = []
    const keys = Object.assign(new PassThrough(), { isTTY, setRawMode: (on: boolean) => raw.push(on) })
    let quits = 0
    const screen = new Screen(out as never, keys as unknown as Keys, () => {
      quits++
    })
    return { screen, keys, raw, quits: () => quits, written: () => String(out.read() ?? '') }
  }

  it('takes the terminal over, draws in place, and leaves it as it was', () => {
    const { screen, raw, written, keys } = rig()
    screen.enter()
    expect(written()).toBe('\u001b[?1049h\u001b[?25l')
    screen.show('first line that is long\nTOPIC  IN\nx\nbelow the end\nand more')
    expect(written()).toBe(
      '\u001b[Hfirst line t\u001b[K\r\n\u001b[7mTOPIC  IN\u001b[0m\u001b[K\r\nx\u001b[K\u001b[J',
    )
    screen.leave()
    expect(written()).toBe('\u001b[?25h\u001b[?1049l')
    expect(raw).toEqual([true, false])
    expect(keys.listenerCount('data')).toBe(0)
  })

  it('has no colours for who wants none', () => {
    vi.stubEnv('NO_COLOR', '1')
    const { screen, written } = rig()
    screen.show('TOPIC  IN')
    expect(written()).not.toContain('\u001b[7m')
  })

  it.each(['q', 'Q', '\u0003', 'xq'])('ends at %j', (pressed) => {
    const { screen, keys, quits } = rig()
    screen.enter()
    keys.emit('data', Buffer.from('x'))
    expect(quits()).toBe(0)
    keys.emit('data', Buffer.from(pressed))
    expect(quits()).toBe(1)
    screen.leave()
  })

  it('takes no keys of what is no terminal', () => {
    const { screen, raw, keys } = rig(false)
    screen.enter()
    screen.leave()
    expect([raw, keys.listenerCount('data')]).toEqual([[], 0])
  })
})
