import { logStoreContract, stateStoreContract } from 'ratatoskr/contract-tests'
import { describe, expect, it } from 'vitest'
import { memoryStorage } from './index.ts'
import { memoryLogSetup, memoryStateSetup } from './testing/setups.ts'

logStoreContract('memory', memoryLogSetup)
stateStoreContract('memory', memoryStateSetup)

describe('memoryStorage', () => {
  it('refuses bounds that are none', () => {
    expect(() => memoryStorage({ bytesMax: 0 })).toThrow(TypeError)
    expect(() => memoryStorage({ messagesMax: Number.NaN })).toThrow(TypeError)
    expect(() => memoryStorage({ stateBytesMax: 1.5 })).toThrow(TypeError)
  })
})
