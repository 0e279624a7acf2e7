import { expect, it } from 'vitest'
import { hottest } from './profile.ts'

const frame = (functionName: string, lineNumber = -1) => ({
  functionName,
  url: lineNumber === -1 ? '' : 'file:///a/b/c/d.ts',
  lineNumber,
})

it('the time of a function is that of all its samples, as a part of what was not idle', () => {
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('(idle)') },
      { id: 2, callFrame: frame('work', 9) },
      // The same function, called from elsewhere.
      { id: 3, callFrame: frame('work', 9) },
      { id: 4, callFrame: frame('', 4) },
      { id: 5, callFrame: frame('(garbage collector)') },
    ],
    samples: [1, 2, 3, 4, 5],
    timeDeltas: [1_000, 30, 40, 20, 10],
  }
  expect(hottest(profile, 2)).toEqual([
    { name: 'work', place: 'b/c/d.ts:10', percent: 70 },
    { name: '(anonymous)', place: 'b/c/d.ts:5', percent: 20 },
  ])
})
