/**
 * Publishing as the work of a leased message: whoever has lost the lease cannot write any more, whatever made him lose it, and
 * whichever way he publishes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { nodePlatform } from 'ratatoskr/adapters/node'
import type { Client } from 'ratatoskr/client'
import {
  BatchBuilder,
  type LeaseProof,
  type ProducerStamp,
  type QueueConfig,
  toRatatoskrError,
  utf8,
} from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode, within } from '../suite.ts'
import { type CaseBrokerOptions, type TransportContext, textMessage } from './context.ts'
import type { TransportProbe } from './probe.ts'

const platform = nodePlatform()

function batchOfOne(text: string, producer?: ProducerStamp): Uint8Array {
  const builder = new BatchBuilder({ checksum: platform.checksum })
  builder.add({ payload: utf8(text), timestampMs: platform.clock.now() })
  return builder.build(producer)
}

/** Every way to publish that there is: each gives the code of its refusal, or undefined. */
const waysToPublish = (
  local: Client,
  probe: TransportProbe,
  batches: boolean,
): Readonly<Record<string, (lease: LeaseProof) => Promise<string | undefined>>> => {
  const codeOf = async (publishing: Promise<unknown>): Promise<string | undefined> => {
    try {
      await publishing
      return undefined
    } catch (error) {
      return toRatatoskrError(error).code
    }
  }
  return {
    publish: (lease) => codeOf(probe.publish('results', textMessage('one'), undefined, lease)),
    publishMany: (lease) =>
      codeOf(
        probe.publishMany('results', [textMessage('many')], lease).then(([result]) => {
          if ('error' in result) throw result.error
        }),
      ),
    // What carries no batches publishes another message in its place, so that the counts are the same everywhere.
    publishBatch: (lease) =>
      codeOf(
        batches
          ? probe.publishBatch('results', 0, batchOfOne('batch'), lease)
          : probe.publish('results', textMessage('no batch'), undefined, lease),
      ),
    embedded: (lease) => codeOf(local.publish('results', 'embedded', { lease })),
  }
}

interface LeaseCase {
  readonly broker: EmbeddedBroker
  /** Without a protocol. */
  readonly local: Client
  /** Leases the next message. */
  take(): Promise<LeaseProof>
  /** What each way to publish answers to the proof, and how many messages there are more afterwards. */
  published(proof: LeaseProof): Promise<{ readonly codes: (string | undefined)[]; readonly stored: number }>
  /** Everybody connects again. */
  connect(): Promise<void>
  /** What publishes over the transport. */
  readonly probe: TransportProbe
  /** True when the transport carries record batches. */
  readonly batches: boolean
}

/** A queue group with one message, and a topic for what comes of it. */
async function leaseCase(
  context: TransportContext,
  config: Partial<QueueConfig> = {},
  options: CaseBrokerOptions = {},
): Promise<LeaseCase> {
  const { broker, transport, connect } = await context.broker(options)
  const { batches } = transport.supports
  let [probe, local] = [await connect(), await broker.client()]
  context.defer(() => local.close())
  await broker.createTopic('orders')
  await broker.createTopic('results')
  await broker.publish('orders', 'work')
  await local.createQueue('orders', 'g', { sharing: 'shared', retriesMax: -1, ...config })
  const count = async (): Promise<number> => (await broker.topicStats('results')).messageCount
  return {
    broker,
    batches,
    get local() {
      return local
    },
    get probe() {
      return probe
    },
    async take() {
      const { batches } = await local.take('orders', 'g', { member: 'w', waitMs: 5_000 })
      const [{ partition, firstOffset, lease }] = batches
      return { topic: 'orders', group: 'g', partition, offset: firstOffset, lease }
    },
    async published(proof) {
      const before = await count()
      const codes: (string | undefined)[] = []
      const ways = waysToPublish(local, probe, batches)
      for (const publish of Object.values(ways)) codes.push(await publish(proof))
      return { codes, stored: (await count()) - before }
    },
    async connect() {
      probe = await connect()
      local = await broker.client()
    },
  }
}

const accepted = { codes: [undefined, undefined, undefined, undefined], stored: 4 }
const refused = { codes: Array.from({ length: 4 }, () => 'RTK_LEASE_LOST'), stored: 0 }

/** How a lease may end; each gets the proof, and resolves when the broker has ended it. */
const ends: Readonly<
  Record<
    string,
    {
      readonly config?: Partial<QueueConfig>
      readonly end: (one: LeaseCase, proof: LeaseProof) => Promise<unknown>
    }
  >
> = {
  'its ack timeout': {
    config: { retry: { kind: 'fixed', delayMs: 60_000 } },
    end: async (one, proof) => {
      // Held for long until here, however slow the machine is.
      await settling('extend', { extendMs: 1 })(one, proof)
      const lost = async (): Promise<void> => {
        for (;;) {
          const { partitions } = await one.local.describeQueue('orders', 'g')
          if (partitions[0].inFlight === 0) return
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
      await within(lost(), 5_000, 'the ack timeout')
    },
  },
  'a seek of the group': { end: ({ local }) => local.seek('orders', 'g', 'latest') },
  'an acknowledgement': { end: settling('ack') },
  'a failure': { end: settling('nack') },
  'giving it back': { end: settling('release') },
  'making it a dead letter': { end: settling('terminate') },
  'its member leaving': { end: ({ local }) => local.leaveQueue('orders', 'g', 'w') },
  'the end of the group': {
    end: async ({ local }) => {
      await local.leaveQueue('orders', 'g', 'w')
      await local.deleteGroup('orders', 'g')
    },
  },
}

function settling(
  action: 'ack' | 'nack' | 'release' | 'terminate' | 'extend',
  more: { readonly extendMs?: number } = {},
) {
  return async ({ local }: LeaseCase, { partition, lease, offset }: LeaseProof): Promise<void> => {
    const settlement = { partition, lease, from: offset, to: offset + 1, action, ...more }
    const [result] = await local.settle('orders', 'g', [settlement], { member: 'w' })
    expect(result).toBeUndefined()
  }
}

export const leasePublishCases: readonly ContractCase<TransportContext>[] = [
  ...Object.entries(ends).map(([what, { config, end }]) => ({
    name: `publishes with a lease while it holds, and refuses it after ${what}`,
    async run(context: TransportContext) {
      const one = await leaseCase(context, config)
      const proof = await one.take()
      expect(await one.published(proof)).toEqual(accepted)
      await end(one, proof)
      expect(await one.published(proof)).toEqual(refused)
    },
  })),
  {
    name: 'refuses a lease that a later one has replaced, and takes the later one',
    async run(context) {
      const one = await leaseCase(context)
      const first = await one.take()
      await settling('release')(one, first)
      const second = await one.take()
      expect(second.lease).toBeGreaterThan(first.lease)
      expect(await one.published(first)).toEqual(refused)
      expect(await one.published(second)).toEqual(accepted)
    },
  },
  {
    name: 'answers a publish that comes again as the first time, though its lease is over, and stores nothing new',
    async run(context) {
      const one = await leaseCase(context)
      await one.local.alterTopic('results', { dedupWindowMs: 60_000 })
      const [known, fresh] = ['5d5b1a0e-5a43-4f0f-9d52-0d3c6f9ab001', '5d5b1a0e-5a43-4f0f-9d52-0d3c6f9ab002']
      const proof = await one.take()
      const message = textMessage('one', { id: known })
      const first = await one.probe.publish('results', message, undefined, proof)
      await settling('ack')(one, proof)
      const again = await one.probe.publish('results', message, undefined, proof)
      expect(again).toEqual({ ...first, duplicate: true })
      await expectCode(
        () => one.probe.publish('results', textMessage('two', { id: fresh }), undefined, proof),
        'RTK_LEASE_LOST',
      )
      expect((await one.broker.topicStats('results')).messageCount).toBe(1)
    },
  },
  {
    name: 'answers a numbered batch that comes again as the first time, though its lease is over, and not the next one',
    async run(context) {
      const one = await leaseCase(context)
      if (!one.batches) return
      const numbered = (baseSequence: number) => batchOfOne('work', { producerId: 7, epoch: 0, baseSequence })
      const proof = await one.take()
      const { baseOffset } = await one.probe.publishBatch('results', 0, numbered(0), proof)
      await settling('ack')(one, proof)
      const again = await one.probe.publishBatch('results', 0, numbered(0), proof)
      expect(again).toMatchObject({ baseOffset, duplicate: true })
      await expectCode(() => one.probe.publishBatch('results', 0, numbered(1), proof), 'RTK_LEASE_LOST')
      expect((await one.broker.topicStats('results')).messageCount).toBe(1)
      expect(await one.probe.publishBatch('results', 0, numbered(1))).toMatchObject({ baseOffset: 1 })
    },
  },
  {
    name: 'refuses proofs that name another group, topic, partition, message or lease',
    async run(context) {
      const one = await leaseCase(context)
      const proof = await one.take()
      await one.local.createQueue('orders', 'other')
      const wrong: readonly Partial<LeaseProof>[] = [
        { group: 'other' },
        { group: 'nobody' },
        { topic: 'results' },
        { topic: 'nowhere' },
        { partition: 1 },
        { offset: proof.offset + 1 },
        { lease: proof.lease + 1 },
        { lease: proof.lease - 1 },
      ]
      for (const change of wrong) {
        expect(await one.published({ ...proof, ...change }), JSON.stringify(change)).toEqual(refused)
      }
      expect(await one.published(proof), 'and it still holds').toEqual(accepted)
    },
  },
  {
    name: 'refuses leases of before a restart of the broker; those after it are greater',
    async run(context) {
      const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-lease-'))
      context.defer(() => rm(directory, { recursive: true, force: true }))
      const one = await leaseCase(context, {}, { directory })
      const before = await one.take()
      expect(await one.published(before)).toEqual(accepted)
      await one.broker.stop()
      await one.broker.start()
      await one.connect()
      expect(await one.published(before)).toEqual(refused)
      const after = await one.take()
      expect(after).toMatchObject({ offset: before.offset })
      expect(after.lease).toBeGreaterThan(before.lease)
      expect(await one.published(before)).toEqual(refused)
      expect(await one.published(after)).toEqual(accepted)
    },
  },
]
