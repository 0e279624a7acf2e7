import { expect, it } from 'vitest'
import { copyChanges, StateTable, type TableChange } from './state-table.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

function put(table: StateTable, ...changes: TableChange[]): void {
  table.apply(table.plan(copyChanges(changes)))
}

it('counts the bytes of keys and values through puts, overwrites and deletions', () => {
  const table = new StateTable()
  put(table, { key: 'ab', value: bytes(1, 2, 3) }, { key: 'c', value: bytes() })
  expect([table.size, table.sizeBytes]).toEqual([2, 6])
  const planned = table.plan([{ key: 'ab', value: bytes(1) }])
  expect(table.growthBytes(planned)).toBe(-2)
  table.apply(planned)
  put(table, { key: 'c', value: undefined }, { key: 'never', value: undefined })
  expect([table.size, table.sizeBytes]).toEqual([1, 3])
  table.clear()
  expect([table.size, table.sizeBytes]).toEqual([0, 0])
})

it('plans against what is planned already', () => {
  const table = new StateTable()
  put(table, { key: 'a', value: bytes(1) })
  const pending = new Map([
    ['a', 0],
    ['b', 7],
  ])
  expect(table.plan([{ key: 'a', value: bytes(1), expectedVersion: 0 }], pending)[0].version).toBe(1)
  expect(table.plan([{ key: 'b', value: bytes(1), expectedVersion: 7 }], pending)[0].version).toBe(8)
  expect(() => table.plan([{ key: 'a', value: bytes(1), expectedVersion: 1 }], pending)).toThrow(/version/)
  expect(table.get('a')?.version).toBe(1)
})

it('copies values, also those of Buffers', () => {
  const value = Buffer.from([1, 2])
  const [copy] = copyChanges([{ key: 'a', value }])
  value.fill(9)
  expect(copy.value).toEqual(bytes(1, 2))
})

it('refuses what is no change', () => {
  const refused: unknown[] = [
    { key: '', value: bytes() },
    { key: 'ü', value: bytes() },
    { key: 'a'.repeat(513), value: bytes() },
    { key: 'a', value: new Uint8Array(1024 * 1024 + 1) },
    { key: 'a', value: bytes(), expectedVersion: -1 },
    { key: 'a', value: bytes(), expectedVersion: '1' },
  ]
  for (const change of refused) {
    expect(() => copyChanges([change as TableChange])).toThrowError(
      expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }),
    )
  }
})

it('lists by prefix in the order of the keys', () => {
  const table = new StateTable()
  for (const key of ['b', 'a/2', 'a/10', 'a', 'A']) put(table, { key, value: bytes() })
  expect(table.list('a').map(({ key }) => key)).toEqual(['a', 'a/10', 'a/2'])
  expect(table.list('').map(({ key }) => key)).toEqual(['A', 'a', 'a/10', 'a/2', 'b'])
})
