/** The fault-injecting storage fails when it is told to, and is the storage underneath otherwise. */
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { RatatoskrError, type Stores } from 'ratatoskr/ports'
import { beforeEach, describe, expect, it } from 'vitest'
import { sampleBatch } from '../batches.ts'
import { testPlatform } from '../test-platform.ts'
import { type Faults, failing, faultyStorage } from './faulty-storage.ts'

const id = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const value = Uint8Array.of(1)
const error = new RatatoskrError('RTK_STORE_FAILED', 'told to fail')

let faults: Faults
let stores: Stores

beforeEach(async () => {
  faults = {}
  stores = faultyStorage(memoryStorage(), faults).open(testPlatform())
  await stores.state.start()
  await stores.logs.start()
})

const outcomes = async (count: number, run: () => Promise<unknown>): Promise<string> => {
  let shown = ''
  for (let i = 0; i < count; i++) {
    shown += await run().then(
      () => '.',
      (reason) => (reason === error ? 'x' : '?'),
    )
  }
  return shown
}

describe('faultyStorage', () => {
  it.each([
    [{}, 'xxxxx'],
    [{ nth: 3 }, '..xxx'],
    [{ times: 2 }, 'xx...'],
    [{ nth: 2, times: 1 }, '.x...'],
  ])('fails changes of state %j: %s', async (when, shown) => {
    faults.changeState = failing({ ...when, error })
    expect(await outcomes(5, () => stores.state.put('a', value))).toBe(shown)
    faults.changeState = undefined
    const wanted = shown.split('.').length
    expect(await stores.state.put('a', value)).toBe(wanted)
  })

  it('fails every kind of change, and nothing was changed', async () => {
    await stores.state.put('a', value)
    faults.changeState = failing({ error })
    await expect(stores.state.putMany([{ key: 'a', value: undefined }])).rejects.toBe(error)
    await expect(stores.state.delete('a', 1)).rejects.toBe(error)
    faults.changeState = undefined
    faults.readState = failing({ times: 1, error })
    await expect(stores.state.get('a')).rejects.toBe(error)
    expect(await stores.state.get('a')).toMatchObject({ version: 1 })
    await stores.state.putMany([{ key: 'b', value }])
    await stores.state.delete('b')
    const left: string[] = []
    for await (const { key } of stores.state.list('')) left.push(key)
    expect(left).toEqual(['a'])
  })

  it('fails deletions, and a log whose append failed until it is opened again', async () => {
    const log = await stores.logs.openLog(id, { segmentBytes: 1000 })
    faults.append = failing({ times: 1, error })
    const append = async (): Promise<void> => log.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'memory')
    await expect(append).rejects.toBe(error)
    await expect(append).rejects.toBe(error)
    await log.close()
    faults.deleteLog = failing({ nth: 2, times: 1, error })
    await stores.logs.deleteLog(id)
    await expect(stores.logs.deleteLog(id)).rejects.toBe(error)
  })
})
