/**
 * A power cut takes the end of a log that was not synced, and groups had come further: what is published from then on has
 * offsets that were used before, and every group gets it all the same, also when the power fails again before it asks.
 */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { diskStorage, verifyDataDirectory } from 'ratatoskr/adapters/disk'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { ManualClock, type SimulatedDisk, simulatedDisk } from 'ratatoskr/contract-tests'
import { messagesOf, type Session, utf8, utf8Text } from 'ratatoskr/ports'
import { expect, it } from 'vitest'

const synced = 60
const lost = 40
const published = 20

interface Running {
  readonly clock: ManualClock
  readonly broker: EmbeddedBroker
  readonly session: Session
  readonly errors: { readonly message: string; readonly fields: unknown }[]
}

async function brokerOn(disk: SimulatedDisk): Promise<Running> {
  const errors: Running['errors'] = []
  const clock = new ManualClock()
  const logger = {
    debug() {},
    info() {},
    warn() {},
    error: (message: string, fields?: unknown) => void errors.push({ message, fields }),
    child: () => logger,
  }
  const broker = await createBroker({
    storage: diskStorage({ directory: '/data', fileSystem: disk, reserveBytes: 4_096 }),
    platform: { clock, logger },
  })
  await broker.start()
  const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
  return { clock, broker, session: await broker.facade.connect(peer, { kind: 'none' }), errors }
}

/** Lets the disk answer, and time pass: a queue group stores in intervals what was settled. */
async function pass(clock: ManualClock): Promise<void> {
  for (let step = 0; step < 40; step++) {
    await clock.advance(100)
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}

async function publish(
  { session }: Running,
  count: number,
  text: string,
  durability: 'os' | 'fsync',
): Promise<void> {
  for (let n = 0; n < count; n++) await session.publish('t', { payload: utf8(`${text}${n}`) }, { durability })
}

/** What a member of the group is given, each settled at once. */
async function given({ session, clock }: Running, kind: 'stream' | 'queue'): Promise<readonly string[]> {
  const texts: string[] = []
  const expansion = { codecs: new Map(), bytesMax: 1e6 }
  const source = { topic: 't', topicId: (await session.describeTopic('t')).id, partition: 0, expansion }
  const read = (bytes: Uint8Array, from: number): void => {
    for (const { payload } of messagesOf(bytes, source, from)) texts.push(utf8Text(payload))
  }
  if (kind === 'stream') {
    const subscription = await session.subscribe(
      't',
      { group: 'g', from: 'earliest' },
      {
        deliver: ({ bytes, fromOffset, nextOffset, partition }) => {
          read(bytes, fromOffset)
          void subscription.commit([{ partition, offset: nextOffset }])
        },
        ended() {},
      },
    )
    subscription.grant({ messages: 1_000, bytes: 1_000_000 })
  } else {
    await session.consume(
      't',
      { group: 'g', from: 'earliest', credit: { messages: 1_000, bytes: 1_000_000 } },
      {
        deliver: ({ bytes, firstOffset, lastOffset, partition, lease }) => {
          read(bytes, firstOffset)
          const settlement = {
            action: 'ack',
            partition,
            from: firstOffset,
            to: lastOffset + 1,
            lease,
          } as const
          void session.settle('t', { group: 'g', settlements: [settlement] })
        },
        lost() {},
        ended() {},
      },
    )
  }
  await pass(clock)
  return texts
}

/** What a check of the directory warns of. */
async function warnings(disk: SimulatedDisk): Promise<(string | undefined)[]> {
  const problems: (string | undefined)[] = []
  const findings = verifyDataDirectory('/data', nodePlatform().checksum, undefined, disk)
  for await (const { severity, problem } of findings) if (severity === 'warning') problems.push(problem)
  return problems
}

it.each([
  ['stream', false],
  ['stream', true],
  ['queue', false],
  ['queue', true],
] as const)(
  'a %s group gets what is stored where it had been before, power cut again: %s',
  async (kind, again) => {
    const disk = simulatedDisk()
    const before = await brokerOn(disk)
    await before.session.createTopic('t', { durability: 'os' })
    await publish(before, synced, 'synced', 'fsync')
    await publish(before, lost, 'lost', 'os')
    expect(await given(before, kind)).toHaveLength(synced + lost)

    let left = disk.powerCut({ survival: 'nothing' })
    expect(await warnings(left)).toEqual([
      expect.stringMatching(/^the log ends at offset \d+, and group "g" had come to 100:/),
    ])
    let after = await brokerOn(left)
    const [{ endOffset }] = (await after.session.describeTopic('t')).partitions
    expect(endOffset).toBeLessThan(synced + lost)
    await publish(after, published, 'new', 'fsync')
    const told = after.errors.map(({ message }) => message)
    if (again) {
      left = left.powerCut({ survival: 'nothing' })
      after = await brokerOn(left)
    }
    const texts = await given(after, kind)
    expect(texts.filter((text) => text.startsWith('new'))).toEqual(
      Array.from({ length: published }, (_, n) => `new${n}`),
    )
    expect(told).toEqual([
      expect.stringMatching(
        /^a log ends at \d+, and a (queue )?group had (committed|settled up to) 100: records were lost/,
      ),
    ])
    await after.broker.stop()
  },
)
