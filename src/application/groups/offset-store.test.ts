import { describe, expect, it } from 'vitest'
import { utf8 } from '../../ports/index.ts'
import { DeliveryBench, gate } from '../delivery/testing/delivery-bench.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { type CommittedPosition, OffsetStore, offsetKey } from './offset-store.ts'

const at = (offset: number, metadata = ''): CommittedPosition => ({
  offset,
  leaderEpoch: 0,
  metadata,
  committedAtMs: 1,
})

function setup() {
  const { state, platform, warnings } = new DeliveryBench()
  const writes: string[][] = []
  state.onChange = (changes) => void writes.push(changes.map(({ key }) => key))
  return { state, warnings, writes, offsets: new OffsetStore(state, platform.logger) }
}

describe('the offset store', () => {
  it('sends what is asked for in one turn in one write, and the rest with the next', async () => {
    const { state, offsets, writes } = setup()
    const first = gate()
    state.onChange = (changes) => {
      writes.push(changes.map(({ key }) => key))
      return writes.length === 1 ? first.promise : undefined
    }
    const early = [offsets.put('groups/t/g/0', at(1)), offsets.put('groups/t/g/1', at(2))]
    await new Promise(setImmediate)
    const late = [offsets.put('groups/t/g/0', at(3)), offsets.put('groups/t/g/0', at(4))]
    await new Promise(setImmediate)
    expect(writes).toEqual([['groups/t/g/0', 'groups/t/g/1']])
    first.resolve()
    await Promise.all([...early, ...late])
    expect(writes).toEqual([['groups/t/g/0', 'groups/t/g/1'], ['groups/t/g/0']])
    expect((await offsets.load()).get('t')?.get('g')?.get(0)).toEqual(at(4))
  })

  it('loads what it stored, and forgets what it was told to', async () => {
    const { offsets } = setup()
    await Promise.all([
      offsets.put(offsetKey('t', 'g', 0), at(1, 'mé')),
      offsets.put(offsetKey('t', 'g', 12), at(2)),
      offsets.put(offsetKey('t', 'h', 0), at(3)),
      offsets.put(offsetKey('u', 'g', 0), at(4)),
    ])
    await offsets.put(offsetKey('t', 'h', 0), undefined)
    expect(await offsets.load()).toEqual(
      new Map([
        [
          't',
          new Map([
            [
              'g',
              new Map([
                [0, at(1, 'mé')],
                [12, at(2)],
              ]),
            ],
          ]),
        ],
        ['u', new Map([['g', new Map([[0, at(4)]])]])],
      ]),
    )
  })

  it.each([
    ['groups/t/g/0', 'not json', ['g']],
    ['groups/t/g/0', 'null', ['g']],
    ['groups/t/g/0', '{"offset":-1,"metadata":""}', ['g']],
    ['groups/t/g/0', '{"offset":1}', ['g']],
    ['groups/t/g/x', JSON.stringify(at(1)), []],
    ['groups/t/g', JSON.stringify(at(1)), []],
  ])('reports and leaves alone an entry that it cannot read: %s %s', async (key, value, groups) => {
    const { state, offsets, warnings } = setup()
    await state.put(key, utf8(value))
    const loaded = (await offsets.load()).get('t') ?? new Map()
    expect([...loaded.keys()]).toEqual(groups) // without a position, so that it owes all that there is
    expect([...loaded.values()].flatMap((positions) => [...positions])).toEqual([])
    expect(warnings).toMatchObject([{ fields: { key } }])
    expect(state.keys).toEqual([key])
  })

  it('reads entries that lack what is of less weight', async () => {
    const { state, offsets } = setup()
    await state.put('groups/t/g/0', utf8('{"offset":5,"metadata":"m"}'))
    expect((await offsets.load()).get('t')?.get('g')?.get(0)).toEqual({
      offset: 5,
      leaderEpoch: -1,
      metadata: 'm',
      committedAtMs: 0,
    })
  })

  it('tells everyone of a write that failed, and goes on with the next', async () => {
    const { state, offsets } = setup()
    state.onChange = () => {
      throw new Error('/secret/path')
    }
    const calls = [
      codeOf(() => offsets.put('groups/t/g/0', at(1))),
      codeOf(() => offsets.put('groups/t/g/1', at(1))),
    ]
    await offsets.idle()
    expect(await Promise.all(calls)).toEqual(['RTK_STORE_FAILED', 'RTK_STORE_FAILED'])
    state.onChange = () => {}
    await offsets.put('groups/t/g/2', at(1))
    expect(state.keys).toEqual(['groups/t/g/2'])
  })
})
