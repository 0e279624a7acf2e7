import { expect, it } from 'vitest'
import { RatatoskrError } from '../ports/index.ts'
import { exitCodeOf } from './exit-codes.ts'

it.each([
  ['RTK_INVALID_ARGUMENT', 2],
  ['RTK_OFFSET_OUT_OF_RANGE', 2],
  ['RTK_TOPIC_NOT_FOUND', 3],
  ['RTK_UNAUTHENTICATED', 4],
  ['RTK_PERMISSION_DENIED', 4],
  ['RTK_DISCONNECTED', 5],
  ['RTK_TOPIC_EXISTS', 6],
  ['RTK_STORE_LOCKED', 6],
  ['RTK_TIMEOUT', 7],
  ['RTK_CONFIG_INVALID', 78],
  ['RTK_CANCELLED', 1],
  ['RTK_STORE_FAILED', 1],
] as const)('%s gives %i', (code, exit) => expect(exitCodeOf(new RatatoskrError(code, 'x'))).toBe(exit))

it('gives 1 for what is no error of ours', () => expect(exitCodeOf(new TypeError('x'))).toBe(1))
