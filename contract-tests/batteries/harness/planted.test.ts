/** The list of planted bugs stays true to the code: each has its place, exactly once, and a name of its own. */
import { describe, expect, it } from 'vitest'
import { plantedSource } from './planted.ts'
import { plantedBugs } from './planted-bugs.ts'

describe('planted bugs', () => {
  it.each(plantedBugs.map((bug) => [bug.name, bug] as const))('%s has its place in the code', (_, bug) => {
    const source = plantedSource(bug)
    expect(source).toContain(bug.replace)
    expect(bug.replace).not.toBe(bug.find)
  })

  it('have names of their own', () => {
    expect(new Set(plantedBugs.map(({ name }) => name)).size).toBe(plantedBugs.length)
  })
})
