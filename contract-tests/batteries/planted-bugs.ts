/** The list of planted bugs. Each battery takes those that name it. */
import type { BatteryName, PlantedBug } from './planted.ts'

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'no fdatasync',
    batteries: ['powercut', 'simdisk'],
    file: 'adapters/disk/group-writer.ts',
    find: '    await file.file.sync()\n    file.dirty = false\n    if (this.#written',
    replace: '    file.dirty = false\n    if (this.#written',
  },
  {
    name: 'ack before the write',
    batteries: ['crash'],
    file: 'adapters/disk/group-writer.ts',
    find: 'for (const { chunk, from, to } of runsOf(group)) {',
    replace:
      'for (const append of group) append.resolve()\n      await new Promise((resolve) => setTimeout(resolve, 20))\n      for (const { chunk, from, to } of runsOf(group)) {',
  },
]

export const bugsOf = (battery: BatteryName): readonly PlantedBug[] =>
  plantedBugs.filter(({ batteries }) => batteries.includes(battery))
