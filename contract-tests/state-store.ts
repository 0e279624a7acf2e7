/**
 * The specification of the state store port: `stateStoreContract('mine', setup)` in a test file of yours.
 */
import type { StateStore } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { collect } from './log-store-context.ts'
import {
  type ContractCase,
  type ContractContext,
  type ContractOptions,
  defineContract,
  expectCode,
} from './suite.ts'

/** One fresh store and what can be done to it from outside. */
export interface StateStoreContext extends ContractContext {
  /** Not started. */
  readonly subject: StateStore
  /** Stops the store that is in use and starts one on the same data. */
  reopen(): Promise<StateStore>
  /** Abandons the store that is in use without stopping it, as `kill -9` would, and starts a new one on the same data. */
  crash(): Promise<StateStore>
  /** Crashes likewise, but leaves the last write half-done. A store whose medium cannot tear declares a known gap. */
  tearLastWrite?(): Promise<StateStore>
  /**
   * Stops the store that is in use, damages one of the copies that it keeps of its data, another at each call, and starts one
   * on what is left. A store whose medium keeps its own copies, or none, declares a known gap.
   */
  damageCopy?(): Promise<StateStore>
  /** Starts another store of the same kind with room for about `bytesMax` bytes. Stopped at teardown. */
  bounded?(bytesMax: number): Promise<StateStore>
}

/** One case of the state store suite. */
export type StateStoreCase = ContractCase<StateStoreContext>

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

/** Everything that is in a store, as plain data. */
async function contents(
  store: StateStore,
  prefix = '',
): Promise<Record<string, { value: number[]; version: number }>> {
  const entries = await collect(store.list(prefix))
  return Object.fromEntries(entries.map(({ key, value, version }) => [key, { value: [...value], version }]))
}

const usedOutside: readonly ((store: StateStore) => unknown)[] = [
  (store) => store.get('a'),
  (store) => store.put('a', bytes(1)),
  (store) => store.putMany([{ key: 'a', value: bytes(1) }]),
  (store) => store.delete('a'),
  (store) => collect(store.list('')),
]

const basicCases: readonly StateStoreCase[] = [
  {
    name: 'refuses everything before start and after stop; both may be called twice',
    async run({ subject }) {
      expect(Object.isFrozen(subject.supports)).toBe(true)
      for (const use of usedOutside) await expectCode(() => use(subject), 'RTK_CLOSED')
      await subject.start()
      await subject.start()
      await subject.put('a', bytes(1))
      await subject.stop()
      await subject.stop()
      for (const use of usedOutside) await expectCode(() => use(subject), 'RTK_CLOSED')
      await subject.start()
      await subject.put('b', bytes(1))
    },
  },
  {
    name: 'gives back what was put, with versions that begin at 1 and rise by 1',
    async run({ subject }) {
      await subject.start()
      expect(await subject.get('topics/a')).toBeUndefined()
      expect(await subject.put('topics/a', bytes(1, 2, 3))).toBe(1)
      expect(await subject.get('topics/a')).toEqual({ value: bytes(1, 2, 3), version: 1 })
      expect(await subject.put('topics/a', bytes())).toBe(2)
      expect(await subject.get('topics/a')).toEqual({ value: bytes(), version: 2 })
      expect(await subject.put('topics/a', bytes(9), 2)).toBe(3)
    },
  },
  {
    name: 'refuses a put at a version that is not there, and changes nothing',
    async run({ subject }) {
      await subject.start()
      await expectCode(() => subject.put('a', bytes(1), 1), 'RTK_VERSION_CONFLICT')
      expect(await subject.get('a')).toBeUndefined()
      expect(await subject.put('a', bytes(1), 0)).toBe(1)
      await expectCode(() => subject.put('a', bytes(2), 0), 'RTK_VERSION_CONFLICT')
      await expectCode(() => subject.put('a', bytes(2), 2), 'RTK_VERSION_CONFLICT')
      expect(await subject.get('a')).toEqual({ value: bytes(1), version: 1 })
    },
  },
  {
    name: 'of puts that are in flight together and expect the same version, one succeeds',
    async run({ subject }) {
      await subject.start()
      const outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, (_, i) => subject.put('counter', bytes(i), 0)),
      )
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
      expect(refused.length).toBe(9)
      for (const { reason } of refused) {
        await expectCode(() => Promise.reject(reason), 'RTK_VERSION_CONFLICT')
      }
      expect((await subject.get('counter'))?.version).toBe(1)
    },
  },
  {
    name: 'puts that are in flight together take effect in their order',
    async run({ subject }) {
      await subject.start()
      const versions = await Promise.all(Array.from({ length: 50 }, (_, i) => subject.put('k', bytes(i))))
      expect(versions).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
      expect(await subject.get('k')).toEqual({ value: bytes(49), version: 50 })
    },
  },
  {
    name: 'deletes, and begins again at version 1',
    async run({ subject }) {
      await subject.start()
      await subject.put('a', bytes(1))
      await subject.put('a', bytes(2))
      await expectCode(() => subject.delete('a', 1), 'RTK_VERSION_CONFLICT')
      await subject.delete('a', 2)
      expect(await subject.get('a')).toBeUndefined()
      await subject.delete('a')
      await subject.delete('a', 0)
      await expectCode(() => subject.delete('a', 2), 'RTK_VERSION_CONFLICT')
      expect(await subject.put('a', bytes(3), 0)).toBe(1)
    },
  },
  {
    name: 'putMany changes all or nothing',
    async run({ subject }) {
      await subject.start()
      await subject.put('a', bytes(1))
      await subject.put('gone', bytes(1))
      await subject.putMany([
        { key: 'a', value: bytes(2), expectedVersion: 1 },
        { key: 'b', value: bytes(3), expectedVersion: 0 },
        { key: 'gone', value: undefined },
      ])
      const after = { a: { value: [2], version: 2 }, b: { value: [3], version: 1 } }
      expect(await contents(subject)).toEqual(after)
      await expectCode(
        () =>
          subject.putMany([
            { key: 'a', value: bytes(7) },
            { key: 'c', value: bytes(7) },
            { key: 'b', value: bytes(7), expectedVersion: 5 },
          ]),
        'RTK_VERSION_CONFLICT',
      )
      expect(await contents(subject)).toEqual(after)
      await subject.putMany([])
      expect(await contents(subject)).toEqual(after)
    },
  },
  {
    name: 'lists what begins with a prefix, in order of keys, as it was when the call began',
    async run({ subject }) {
      await subject.start()
      for (const key of ['t/b', 't/a', 't/a/1', 'T/z', 't', 'u/a', 't/B', 't/10', 't/9']) {
        await subject.put(key, bytes(key.length))
      }
      expect((await collect(subject.list('t/'))).map((entry) => entry.key)).toEqual([
        't/10',
        't/9',
        't/B',
        't/a',
        't/a/1',
        't/b',
      ])
      expect((await collect(subject.list(''))).length).toBe(9)
      expect(await collect(subject.list('none'))).toEqual([])
      const listing = subject.list('t/')
      const seen: string[] = []
      for await (const entry of listing) {
        if (seen.length === 0)
          await subject.putMany([
            { key: 't/b', value: undefined },
            { key: 't/c', value: bytes(1) },
          ])
        seen.push(entry.key)
      }
      expect(seen).toEqual(['t/10', 't/9', 't/B', 't/a', 't/a/1', 't/b'])
    },
  },
  {
    name: 'copies values on the way in and out',
    async run({ subject }) {
      await subject.start()
      const value = bytes(1, 2, 3)
      const pending = subject.put('a', value)
      value.fill(9)
      await pending
      const first = await subject.get('a')
      expect(first?.value).toEqual(bytes(1, 2, 3))
      first?.value.fill(8)
      expect((await subject.get('a'))?.value).toEqual(bytes(1, 2, 3))
      for await (const entry of subject.list('')) entry.value.fill(7)
      expect((await subject.get('a'))?.value).toEqual(bytes(1, 2, 3))
      // A Buffer's slice is a view: whoever copies with it does not.
      const buffer = Buffer.from([4, 5, 6])
      const second = subject.put('b', buffer)
      buffer.fill(9)
      await second
      buffer.fill(8)
      const found = await subject.get('b')
      expect(found?.value).toEqual(bytes(4, 5, 6))
      expect(found?.value.constructor).toBe(Uint8Array)
    },
  },
  {
    name: 'takes keys of 1 to 512 characters, values of up to 1 MiB, and refuses others',
    async run({ subject }) {
      await subject.start()
      const long = 'k'.repeat(512)
      const large = new Uint8Array(1024 * 1024).fill(5)
      await subject.put(long, large)
      await subject.put('~ !/', bytes(1))
      await subject.put('__proto__', bytes(2))
      expect((await subject.get(long))?.value.length).toBe(large.length)
      expect((await subject.get('__proto__'))?.value).toEqual(bytes(2))
      for (const key of ['', `${long}k`, 'a\nb', 'ä', 'a\0', 7 as unknown as string]) {
        await expectCode(() => subject.put(key, bytes(1)), 'RTK_INVALID_ARGUMENT')
        await expectCode(() => subject.get(key), 'RTK_INVALID_ARGUMENT')
      }
      await expectCode(() => subject.put('a', new Uint8Array(1024 * 1024 + 1)), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => subject.put('a', bytes(1), -1), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => subject.put('a', bytes(1), 0.5), 'RTK_INVALID_ARGUMENT')
      await expectCode(
        () =>
          subject.putMany([
            { key: 'a', value: bytes(1) },
            { key: 'a', value: bytes(2) },
          ]),
        'RTK_INVALID_ARGUMENT',
      )
      expect(await subject.get('a')).toBeUndefined()
    },
  },
  {
    name: 'refuses puts when it is full, goes on reading, and takes puts again when there is room',
    async run(context) {
      if (context.bounded === undefined) expect.fail('the setup gives no bounded(): declare a known gap')
      const store = await context.bounded(64 * 1024)
      const value = new Uint8Array(4096).fill(3)
      let count = 0
      let full = false
      while (!full) {
        expect(count, 'the store must be full by now').toBeLessThan(64)
        await store.put(`k${count}`, value, 0).then(
          () => count++,
          (error: unknown) => {
            full = true
            return expectCode(() => Promise.reject(error), 'RTK_STORE_FULL')
          },
        )
      }
      expect(Object.keys(await contents(store)).length).toBe(count)
      expect(await store.get(`k${count}`)).toBeUndefined()
      await expectCode(() => store.put('k0', new Uint8Array(1024 * 1024), 1), 'RTK_STORE_FULL')
      expect((await store.get('k0'))?.value.length).toBe(4096)
    },
  },
]

const durabilityCases: readonly StateStoreCase[] = [
  {
    name: 'after stop and start, entries are as they were (or gone, when it is not durable)',
    async run(context) {
      await context.subject.start()
      await context.subject.put('a', bytes(1))
      await context.subject.put('a', bytes(2))
      await context.subject.put('b', bytes(3))
      await context.subject.delete('b')
      await context.subject.putMany([
        { key: 'c/1', value: bytes() },
        { key: 'c/2', value: bytes(4, 5) },
      ])
      const before = await contents(context.subject)
      const again = await context.reopen()
      expect(await contents(again)).toEqual(again.supports.durable ? before : {})
      expect(await again.put('a', bytes(9))).toBe(again.supports.durable ? 3 : 1)
    },
  },
  {
    name: 'after a crash, what had settled is there',
    async run(context) {
      await context.subject.start()
      const puts = Array.from({ length: 40 }, (_, i) => context.subject.put(`k/${i % 7}`, bytes(i)))
      await Promise.all(puts)
      const before = await contents(context.subject)
      const again = await context.crash()
      expect(await contents(again)).toEqual(again.supports.durable ? before : {})
    },
  },
  {
    name: 'a torn last write is as if it had never been made, and the store goes on',
    async run(context) {
      await context.subject.start()
      await context.subject.put('a', bytes(1))
      const before = await contents(context.subject)
      await context.subject.putMany([
        { key: 'a', value: bytes(2) },
        { key: 'b', value: bytes(2) },
        { key: 'c', value: new Uint8Array(500).fill(1) },
      ])
      if (!context.subject.supports.durable) {
        expect(await contents(await context.crash())).toEqual({})
        return
      }
      if (context.tearLastWrite === undefined) {
        expect.fail('the setup gives no tearLastWrite(): declare this case as a known gap')
      }
      const torn = await context.tearLastWrite()
      expect(await contents(torn)).toEqual(before)
      await torn.put('d', bytes(4))
      const after = await contents(torn)
      expect(await contents(await context.reopen())).toEqual(after)
    },
  },
  {
    name: 'damage to one copy of the data loses nothing, and is mended',
    async run(context) {
      await context.subject.start()
      for (let i = 0; i < 30; i++) await context.subject.put(`k/${i % 9}`, bytes(i))
      await context.subject.delete('k/3')
      let before = await contents(context.subject)
      if (!context.subject.supports.durable) {
        expect(await contents(await context.crash())).toEqual({})
        return
      }
      if (context.damageCopy === undefined) {
        expect.fail('the setup gives no damageCopy(): declare this case as a known gap')
      }
      for (let round = 0; round < 4; round++) {
        const damaged = await context.damageCopy()
        expect(await contents(damaged)).toEqual(before)
        await damaged.put('k/1', bytes(round))
        await damaged.put(`round/${round}`, bytes(round), 0)
        before = await contents(damaged)
      }
      expect(await contents(await context.reopen())).toEqual(before)
      expect(await contents(await context.crash())).toEqual(before)
    },
  },
  {
    name: 'many overwrites of few keys survive restarts, and do not grow without bound',
    async run(context) {
      let store = context.subject
      await store.start()
      const value = new Uint8Array(2000)
      for (let round = 0; round < 3; round++) {
        await Promise.all(
          Array.from({ length: 600 }, (_, i) => store.put(`k/${i % 5}`, value.fill(i & 0xff))),
        )
        const before = await contents(store)
        store = await context.reopen()
        if (!store.supports.durable) return
        expect(await contents(store)).toEqual(before)
      }
      expect((await store.get('k/0'))?.version).toBe(360)
    },
  },
]

/** Every case of the suite, for running it on stores that must fail it. */
export const stateStoreCases: readonly StateStoreCase[] = [...basicCases, ...durabilityCases]

/** Runs the suite on the stores that `setup` makes, one for each case. */
export function stateStoreContract(
  title: string,
  setup: () => Promise<StateStoreContext>,
  options: ContractOptions = {},
): void {
  defineContract(`state store contract: ${title}`, stateStoreCases, setup, options)
}
