/**
 * The specification of the `Plugin` port as a suite: what the broker relies on, whatever a plugin is for. The broker
 * survives plugins that break it, by unhooking, dropping and giving up; a plugin that passes is never treated so.
 */
import {
  type GuardEvents,
  isRatatoskrError,
  type ObserverEvents,
  type Plugin,
  RatatoskrError,
} from 'ratatoskr/ports'
import { expect } from 'vitest'
import { guardEvents, observerEvents } from './plugin-events.ts'
import { PluginStage } from './plugin-stage.ts'
import { type ContractCase, type ContractContext, type ContractOptions, defineContract } from './suite.ts'

/** What the plugin suite asks of a setup. */
export interface PluginContractContext extends ContractContext {
  /** Not set up yet. */
  readonly subject: Plugin
}

/** Runs the suite against a plugin. */
export const pluginContract = (
  title: string,
  setup: () => Promise<PluginContractContext>,
  options?: ContractOptions,
): void => defineContract(title, pluginCases, setup, options)

const observerNames = Object.keys(observerEvents) as readonly (keyof ObserverEvents)[]
const guardNames = Object.keys(guardEvents) as readonly (keyof GuardEvents)[]

/** Most that one call of an observer may take on average. The broker itself takes about 0.012 ms for a batch. */
const callMsMax = 0.1
const floodEvents = 20_000

function emitAll(stage: PluginStage): void {
  for (const name of observerNames) stage.emit(name, observerEvents[name])
}

function checkAll(stage: PluginStage): readonly unknown[] {
  return guardNames.flatMap((name) => stage.check(name, guardEvents[name]))
}

/** As many calls that take too long, at least, prove that it is not the machine that stood still for a moment. */
const slowEvents = 5_000

/**
 * Publishes without letting the event loop turn; stops when it has taken too long. @returns the time that a call took on
 * average
 */
function flood(stage: PluginStage): number {
  const began = performance.now()
  for (let done = 1; ; done++) {
    const event = observerEvents.messagePublished
    stage.emit('messagePublished', { ...event, baseOffset: done, topic: `flood.${done % 5_000}` })
    const tookMs = performance.now() - began
    if (done === floodEvents || tookMs > (done + slowEvents) * callMsMax) return tookMs / done
  }
}

async function staged(plugin: Plugin, stalled = false): Promise<PluginStage> {
  const stage = new PluginStage(plugin, { stalled })
  await stage.setup()
  return stage
}

/** Every case of the suite, for running it on plugins that must fail it. */
export const pluginCases: readonly ContractCase<PluginContractContext>[] = [
  {
    name: 'has a name that can stand in a list, a log and a label',
    async run({ subject }) {
      expect(subject.name).toMatch(/^[A-Za-z0-9._-]{1,128}$/)
      for (const required of subject.requires ?? []) expect(required).toBeTypeOf('string')
      expect(subject.requires ?? []).not.toContain(subject.name)
    },
  },
  {
    name: 'is set up and closed, with nothing in between',
    async run({ subject }) {
      const stage = await staged(subject)
      await stage.close()
      expect(stage.faults).toEqual([])
    },
  },
  {
    name: 'observes every event without throwing or returning anything',
    async run({ subject }) {
      const stage = await staged(subject)
      for (let round = 0; round < 3; round++) emitAll(stage)
      await stage.close()
      expect(stage.faults).toEqual([])
    },
  },
  {
    name: 'guards every event by throwing a coded error or by nothing',
    async run({ subject }) {
      const stage = await staged(subject)
      const refusals = checkAll(stage)
      await stage.close()
      expect(refusals.filter((error) => !isRatatoskrError(error))).toEqual([])
      expect(stage.faults).toEqual([])
    },
  },
  {
    name: 'changes nothing of what it is shown, the bytes of batches least of all',
    async run({ subject }) {
      const batch = observerEvents.messagePublished.batch
      const bytes = batch.slice()
      const before = JSON.stringify([observerEvents, guardEvents])
      const stage = await staged(subject)
      emitAll(stage)
      checkAll(stage)
      await stage.close()
      expect(batch).toEqual(bytes)
      expect(JSON.stringify([observerEvents, guardEvents])).toBe(before)
    },
  },
  {
    name: 'takes whatever names and errors the world can hold',
    async run({ subject }) {
      const stage = await staged(subject)
      const odd = `__proto__\n"\\\u0000é🐿${'x'.repeat(100_000)}`
      const principal = { name: odd, namespace: odd }
      const error = new RatatoskrError('RTK_INTERNAL', odd, { cause: new Error(odd) })
      const peer = { transport: odd, address: odd, local: false, encrypted: false }
      const subscriber = { topic: odd, group: odd, subscriptionId: odd, principal }
      stage.emit('connected', { sessionId: odd, peer, principal })
      stage.emit('denied', { principal, action: odd, resource: odd })
      stage.emit('subscriberJoined', { ...subscriber, group: undefined })
      stage.emit('subscriberFailed', { ...subscriber, error })
      stage.emit('publishFailed', { ...observerEvents.publishFailed, topic: odd, error })
      stage.emit('messagePublished', {
        ...observerEvents.messagePublished,
        topic: odd,
        batch: new Uint8Array(0),
      })
      stage.emit('topicCreated', { ...observerEvents.topicCreated, topic: odd, principal })
      await stage.close()
      expect(stage.faults).toEqual([])
    },
  },
  {
    name: `takes a flood: an observer's call takes less than ${callMsMax} ms, and queues keep to their bounds`,
    async run({ subject }) {
      const stage = await staged(subject)
      const callMs = flood(stage)
      for (const queue of stage.queues) expect(queue.size).toBeLessThanOrEqual(queue.options.itemsMax)
      await stage.close()
      expect(callMs).toBeLessThan(callMsMax)
      expect(stage.faults).toEqual([])
    },
  },
  {
    name: 'goes on when its queues take nothing more, and still closes',
    async run({ subject }) {
      const stage = await staged(subject, true)
      flood(stage)
      emitAll(stage)
      await stage.close()
      expect(stage.faults).toEqual([])
    },
  },
  {
    name: 'is set up again after it was closed, and does the same',
    async run({ subject }) {
      const first = await staged(subject)
      emitAll(first)
      await first.close()
      const second = await staged(subject)
      expect(second.hooks).toEqual(first.hooks)
      emitAll(second)
      await second.close()
      expect([...first.faults, ...second.faults]).toEqual([])
    },
  },
  {
    name: 'bears events that come after it was closed',
    async run({ subject }) {
      const stage = await staged(subject)
      await stage.close()
      emitAll(stage)
      checkAll(stage)
      await stage.drained()
      expect(stage.faults).toEqual([])
    },
  },
]
