import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isRatatoskrError } from './errors.ts'
import { copyChanges, StateTable, type TableChange } from './state-table.ts'
import * as rules from './storage-rules.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('StateTable', () => {
  const key = fc.constantFrom('a', 'a/b', 'a/c', 'b', 'Z')
  const change: fc.Arbitrary<TableChange> = fc.record({
    key,
    value: fc.option(fc.uint8Array({ maxLength: 5 }), { nil: undefined }),
    expectedVersion: fc.option(fc.nat(3), { nil: undefined }),
  })
  const changes = fc.uniqueArray(change, { minLength: 1, maxLength: 3, selector: (one) => one.key })

  it('does what a map of versions would do, all of a set of changes or nothing', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 20 }), (sets) => {
        const table = new StateTable()
        const model = new Map<string, { value: Uint8Array; version: number }>()
        for (const set of sets) {
          const versionOf = (name: string): number => model.get(name)?.version ?? 0
          const allowed = set.every(
            (one) => one.expectedVersion === undefined || one.expectedVersion === versionOf(one.key),
          )
          try {
            table.apply(table.plan(copyChanges(set)))
            expect(allowed).toBe(true)
          } catch (error) {
            expect(isRatatoskrError(error, 'RTK_VERSION_CONFLICT'), String(error)).toBe(true)
            expect(allowed).toBe(false)
            continue
          }
          for (const one of set) {
            if (one.value === undefined) model.delete(one.key)
            else model.set(one.key, { value: one.value, version: versionOf(one.key) + 1 })
          }
        }
        const expected = [...model].map(([name, entry]) => ({ key: name, ...entry }))
        expected.sort((one, other) => (one.key < other.key ? -1 : 1))
        expect(table.list('')).toEqual(expected)
        expect(table.list('a/')).toEqual(expected.filter((entry) => entry.key.startsWith('a/')))
        expect(table.size).toBe(model.size)
        expect(table.sizeBytes).toBe(
          expected.reduce((sum, one) => sum + one.key.length + one.value.length, 0),
        )
        table.clear()
        expect([table.size, table.sizeBytes, table.get('a')]).toEqual([0, 0, undefined])
      }),
    )
  })

  it('plans on top of changes that are not applied yet', () => {
    const table = new StateTable()
    const value = Uint8Array.of(1)
    const planned = table.plan([{ key: 'a', value, expectedVersion: 4 }], new Map([['a', 4]]))
    expect(planned).toEqual([{ key: 'a', value, version: 5 }])
    expect(table.size).toBe(0)
  })
})

describe('copyChanges', () => {
  it.each([Uint8Array.of(1, 2), Buffer.from([1, 2])])(
    'copies values: the caller may change his own (%o)',
    (value) => {
      const [copy] = copyChanges([{ key: 'a', value }])
      value[0] = 9
      expect([...(copy.value as Uint8Array)]).toEqual([1, 2])
    },
  )

  it.each<readonly [string, readonly TableChange[]]>([
    ['an empty key', [{ key: '', value: undefined }]],
    ['a key of 513 characters', [{ key: 'k'.repeat(513), value: undefined }]],
    ['a key that is no printable ASCII', [{ key: 'a\n', value: undefined }]],
    ['a key twice', ['a', 'b', 'a'].map((key) => ({ key, value: undefined }))],
    ['a negative version', [{ key: 'a', value: undefined, expectedVersion: -1 }]],
    ['half a version', [{ key: 'a', value: undefined, expectedVersion: 0.5 }]],
    ['a value of more than 1 MiB', [{ key: 'a', value: new Uint8Array(1_048_577) }]],
  ])('refuses %s', (_, changes) => {
    expect(() => copyChanges(changes)).toThrow(code('RTK_INVALID_ARGUMENT'))
  })
})

describe('the rules of all stores', () => {
  const topicId = '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11'

  it.each<readonly [string, unknown, unknown]>([
    ['a topic id in upper case', topicId.toUpperCase(), 0],
    ['a path for a topic id', '../../etc', 0],
    ['no topic id', undefined, 0],
    ['a negative partition', topicId, -1],
    ['half a partition', topicId, 0.5],
    ['partition 65,536', topicId, 65_536],
  ])('refuse %s', (_, id, partition) => {
    const logId = { topicId: id as string, partition: partition as number }
    expect(() => rules.assertLogId(logId)).toThrow(code('RTK_INVALID_ARGUMENT'))
  })

  it('take what is right', () => {
    rules.assertLogId({ topicId, partition: 65_535 })
    rules.assertStateKey('topics/ orders~')
    rules.assertAppendsAtEnd(5, 5)
    rules.assertDurability('os', 'fsync')
    for (const offset of [3, 4, 7]) rules.assertReadable(offset, 3, 7)
    expect(rules.closedError('the log')).toMatchObject({ code: 'RTK_CLOSED', message: 'the log is not open' })
  })

  it('say with their codes what is wrong', () => {
    for (const offset of [4, 6])
      expect(() => rules.assertAppendsAtEnd(offset, 5)).toThrow(code('RTK_OFFSET_CONFLICT'))
    for (const offset of [2, 8, Number.NaN]) {
      expect(() => rules.assertReadable(offset, 3, 7)).toThrow(code('RTK_OFFSET_OUT_OF_RANGE'))
    }
    expect(() => rules.assertDurability('quorum', 'fsync')).toThrow(code('RTK_DURABILITY_UNAVAILABLE'))
  })
})
