/** States that fail. */
import { RatatoskrError } from '../../../ports/index.ts'

export const failing =
  (code: 'RTK_STORE_FAILED' | 'RTK_STORE_FULL' = 'RTK_STORE_FAILED') =>
  (): void => {
    throw new RatatoskrError(code, 'planned')
  }
