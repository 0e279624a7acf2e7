import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from './batch/bytes.ts'
import { murmur2 } from './murmur2.ts'
import { partitionForKey, StickyPartitioner } from './partitioner.ts'

// Kafka's own vectors: org.apache.kafka.common.utils.UtilsTest.testMurmur2.
const vectors: readonly (readonly [string, number])[] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
]

describe('murmur2', () => {
  it.each(vectors)("gives Kafka's hash of %s", (text, hash) => {
    expect(murmur2(utf8(text))).toBe(hash)
  })
})

describe('partitionForKey', () => {
  it.each(vectors)('clears the sign of the hash of %s before it divides', (text, hash) => {
    expect(partitionForKey(utf8(text), 1_000)).toBe((hash & 0x7fffffff) % 1_000)
  })

  it('gives a partition that exists, and always the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.integer({ min: 1, max: 2_000 }), (key, partitions) => {
        const partition = partitionForKey(key, partitions)
        expect(partition).toBeGreaterThanOrEqual(0)
        expect(partition).toBeLessThan(partitions)
        expect(partitionForKey(key.slice(), partitions)).toBe(partition)
      }),
    )
  })

  it('spreads keys', () => {
    const counts = new Array<number>(8).fill(0)
    for (let i = 0; i < 8_000; i++) counts[partitionForKey(utf8(`customer-${i}`), 8)]++
    expect(Math.min(...counts)).toBeGreaterThan(850)
    expect(Math.max(...counts)).toBeLessThan(1_150)
  })
})

describe('StickyPartitioner', () => {
  it('stays until it is moved on, and comes by every partition in turn', () => {
    const sticky = new StickyPartitioner(0)
    expect([sticky.current(3), sticky.current(3)]).toEqual([0, 0])
    const visited = [0, 1, 2, 3].map(() => {
      sticky.moveOn()
      return sticky.current(3)
    })
    expect(visited).toEqual([1, 2, 0, 1])
  })

  it('gives a partition that exists while partitions are added', () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(random, fc.array(fc.integer({ min: 1, max: 1_024 })), (start, counts) => {
        const sticky = new StickyPartitioner(start)
        for (const partitions of counts) {
          expect(sticky.current(partitions)).toBeLessThan(partitions)
          sticky.moveOn()
        }
      }),
    )
  })

  it('begins elsewhere for each producer', () => {
    const starts = [0, 0.3, 0.6, 0.9].map((random) => new StickyPartitioner(random).current(1_024))
    expect(new Set(starts).size).toBe(4)
  })
})
