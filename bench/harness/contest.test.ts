import { expect, it } from 'vitest'
import { latencyOf } from '../../src/cli/bench/messages.ts'
import { holdContest, orderOf } from './contest.ts'

it('each runs once per round, and begins a round in its turn', async () => {
  const order: string[] = []
  const contestant = (name: string) => ({
    name,
    version: '1',
    durability: 'memory',
    run: async () => {
      order.push(name)
      const none = { processes: {}, lost: 0, duplicated: 0, disordered: 0, damaged: 0 }
      return { messagesPerSecond: order.length, latencyMs: latencyOf(new Float64Array(1)), sent: 1, ...none }
    },
  })
  const lines: string[] = []
  const results = await holdContest(['a', 'b', 'c'].map(contestant), 4, (line) => lines.push(line))
  expect(order.join('')).toBe('abcbcacababc')
  expect(results.map(({ contestant: { name }, runs }) => [name, runs.length])).toEqual([
    ['a', 4],
    ['b', 4],
    ['c', 4],
  ])
  // Runs stand by round, not by when they happened.
  expect(results[0].runs.map(({ messagesPerSecond }) => messagesPerSecond)).toEqual([1, 6, 8, 10])
  expect(lines).toHaveLength(12)
  expect(orderOf([], 3)).toEqual([])
})
