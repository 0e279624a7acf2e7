import { expect, it } from 'vitest'
import { nearestName } from './suggest.ts'

it.each([
  ['foo', ['log', 'pub'], undefined],
  ['lgo', ['log', 'pub'], undefined],
  ['lo', ['log', 'pub'], 'log'],
  ['stroage', ['storage', 'http'], 'storage'],
])('for %s among %j suggests %s', (name, candidates, nearest) => {
  expect(nearestName(name, candidates)).toBe(nearest)
})
