import { memoryMetrics } from 'ratatoskr/adapters/memory-metrics'
import { observerEvents, PluginStage, pluginContract } from 'ratatoskr/contract-tests'
import { assertMetricSeries } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type MetricsPluginOptions, metricNames, metricsPlugin } from './index.ts'

const teardown = async () => {}

pluginContract('metrics plugin', async () => ({ subject: metricsPlugin(), teardown }))
pluginContract('metrics plugin with topics', async () => ({
  subject: metricsPlugin({ topicsMax: 10 }),
  teardown,
}))

const staged = async (options?: MetricsPluginOptions) => {
  const stage = new PluginStage(metricsPlugin(options))
  await stage.setup()
  const value = (name: string, labels: object = {}) => {
    const found = (options?.metrics === undefined ? stage.metrics : (options.metrics as typeof stage.metrics))
      .snapshot()
      .find((sample) => sample.name === name && JSON.stringify(sample.labels) === JSON.stringify(labels))
    return found?.kind === 'histogram' ? [found.count, found.sum] : found?.value
  }
  return { stage, value }
}

describe('the metrics plugin', () => {
  it('counts messages, bytes and batches, and times publishes', async () => {
    const { stage, value } = await staged()
    const event = observerEvents.messagePublished
    stage.emit('messagePublished', { ...event, recordCount: 3, sizeBytes: 100, durationMs: 2 })
    stage.emit('messagePublished', {
      ...event,
      recordCount: 4,
      sizeBytes: 50,
      durationMs: 3,
      topic: 'other.topic',
    })
    stage.emit('messageDelivered', { ...observerEvents.messageDelivered, recordCount: 5, sizeBytes: 70 })
    expect(value('ratatoskr.published.messages')).toBe(7)
    expect(value('ratatoskr.published.bytes')).toBe(150)
    expect(value('ratatoskr.published.batches')).toBe(2)
    expect(value('ratatoskr.publish.duration_ms')).toEqual([2, 5])
    expect(value('ratatoskr.delivered.messages')).toBe(5)
    expect(value('ratatoskr.delivered.bytes')).toBe(70)
  })

  it('counts failures by code and refusals by action', async () => {
    const { stage, value } = await staged()
    stage.emit('publishFailed', observerEvents.publishFailed)
    stage.emit('denied', observerEvents.denied)
    stage.emit('denied', observerEvents.denied)
    expect(value('ratatoskr.publish.failures', { code: 'RTK_STORE_FULL' })).toBe(1)
    expect(value('ratatoskr.denied.operations', { action: 'topic:delete' })).toBe(2)
  })

  it.each([
    ['messageAcked', metricNames.commits],
    ['subscriberJoined', metricNames.subscribersJoined],
    ['subscriberLeft', metricNames.subscribersLeft],
    ['subscriberFailed', metricNames.subscribersFailed],
    ['topicCreated', metricNames.topicsCreated],
    ['topicAltered', metricNames.topicsAltered],
    ['topicDeleted', metricNames.topicsDeleted],
    ['connected', metricNames.sessionsOpened],
    ['disconnected', metricNames.sessionsClosed],
  ] as const)('counts %s', async (hook, name) => {
    const { stage, value } = await staged()
    expect(value(name)).toBe(0)
    stage.emit(hook, observerEvents[hook])
    expect(value(name)).toBe(1)
  })

  it('counts what becomes of the messages of queue groups', async () => {
    const { stage, value } = await staged()
    stage.emit('messageAcked', { ...observerEvents.messageAcked, fromOffset: 1, offset: 5 })
    stage.emit('messageRetried', observerEvents.messageRetried)
    stage.emit('messageLeaseLost', observerEvents.messageLeaseLost)
    stage.emit('deadLettered', observerEvents.deadLettered)
    expect(value('ratatoskr.acked.messages')).toBe(4)
    expect(value('ratatoskr.group.commits')).toBe(0)
    expect(value('ratatoskr.retried.messages')).toBe(1)
    expect(value('ratatoskr.lease_lost.messages', { reason: 'timeout' })).toBe(2)
    expect(value('ratatoskr.dead_letters', { reason: 'retries' })).toBe(1)
  })

  it('shows what the broker knows when someone looks, until it is closed', async () => {
    const { stage, value } = await staged()
    expect(value('ratatoskr.topics')).toBe(3)
    expect(value('ratatoskr.partitions')).toBe(12)
    expect(value('ratatoskr.sessions')).toBe(2)
    expect(value('ratatoskr.subscriptions')).toBe(5)
    expect(value('ratatoskr.uptime_ms')).toBe(60_000)
    expect(value('ratatoskr.skipped.messages')).toBe(7)
    const storage = ['appends', 'appended_bytes', 'syncs', 'hot_reads', 'cold_reads', 'hot_bytes']
    expect(storage.map((name) => value(`ratatoskr.storage.${name}`))).toEqual([10, 100_000, 5, 20, 4, 60_000])
    expect(value('ratatoskr.ready')).toBe(1)
    await stage.close()
    expect(value('ratatoskr.topics')).toBeUndefined()
  })

  it('gives the first topics series of their own and the rest one together', async () => {
    const { stage, value } = await staged({ topicsMax: 2 })
    for (const topic of ['a', 'b', 'c', 'd', 'a']) {
      stage.emit('messagePublished', { ...observerEvents.messagePublished, topic, recordCount: 1 })
    }
    const messages = (topic: string) => value('ratatoskr.published.messages', { topic })
    expect([messages('a'), messages('b'), messages('c'), messages('other')]).toEqual([2, 1, undefined, 2])
    stage.emit('messageDelivered', { ...observerEvents.messageDelivered, topic: 'd', recordCount: 9 })
    expect(value('ratatoskr.delivered.messages', { topic: 'other' })).toBe(9)
    expect(value('ratatoskr.published.messages')).toBeUndefined()
  })

  it('counts elsewhere when told to', async () => {
    const { stage, value } = await staged({ metrics: memoryMetrics() })
    stage.emit('messagePublished', observerEvents.messagePublished)
    expect(value('ratatoskr.published.batches')).toBe(1)
    expect(stage.metrics.snapshot()).toEqual([])
    await stage.close()
    expect(value('ratatoskr.topics')).toBeUndefined()
  })

  it('has names that every back-end accepts', () => {
    for (const name of Object.values(metricNames)) expect(() => assertMetricSeries(name)).not.toThrow()
    expect(new Set(Object.values(metricNames)).size).toBe(Object.keys(metricNames).length)
  })

  it.each([-1, 1.5, Number.NaN, '3'])('refuses %j topics', (topicsMax) => {
    expect(() => metricsPlugin({ topicsMax: topicsMax as number })).toThrow(TypeError)
  })
})
