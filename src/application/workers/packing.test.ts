/** What crosses to another worker: nothing more than was given, and nothing that changes afterwards. */
import { expect, it } from 'vitest'
import { RatatoskrError } from '../../domain/errors.ts'
import { pack, unpack } from './packing.ts'

it('copies bytes when it is called, out of whatever they are a view of', () => {
  const payload = Buffer.from('hello')
  const packed = pack({ payload }) as { readonly payload: Uint8Array }
  payload.fill(0)
  expect(Buffer.from(packed.payload).toString()).toBe('hello')
  expect(packed.payload.buffer.byteLength).toBe(5)
})

it('keeps the code and details of errors, within whatever holds them', () => {
  const error = new RatatoskrError('RTK_OVERLOADED', 'full', { details: { waiting: 3 } })
  const [{ failure }] = unpack(structuredClone(pack([{ failure: error }]))) as [{ failure: RatatoskrError }]
  expect(failure).toBeInstanceOf(RatatoskrError)
  expect(failure).toMatchObject({ code: 'RTK_OVERLOADED', message: 'full', details: { waiting: 3 } })
})
