import {
  type LogStoreContext,
  logStoreContract,
  type StateStoreContext,
  stateStoreContract,
} from 'ratatoskr/contract-tests'
import type { Platform, Stores } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { memoryStorage } from './index.ts'

// Memory needs nothing of the platform: what it must not touch is not there.
const noPlatform = {} as Platform
const open = (options?: Parameters<typeof memoryStorage>[0]): Stores =>
  memoryStorage(options).open(noPlatform)

async function logSetup(): Promise<LogStoreContext> {
  let current = open().logs
  return {
    subject: current,
    async reopen() {
      await current.stop()
      await current.start()
      return current
    },
    async crash() {
      current = open().logs
      await current.start()
      return current
    },
    async bounded(bytesMax) {
      const { logs } = open({ bytesMax })
      await logs.start()
      return logs
    },
    teardown: () => current.stop(),
  }
}

async function stateSetup(): Promise<StateStoreContext> {
  let current = open().state
  return {
    subject: current,
    async reopen() {
      await current.stop()
      await current.start()
      return current
    },
    async crash() {
      current = open().state
      await current.start()
      return current
    },
    async bounded(bytesMax) {
      const { state } = open({ stateBytesMax: bytesMax })
      await state.start()
      return state
    },
    teardown: () => current.stop(),
  }
}

logStoreContract('memory', logSetup)
stateStoreContract('memory', stateSetup)

describe('memoryStorage', () => {
  it('refuses bounds that are none', () => {
    expect(() => memoryStorage({ bytesMax: 0 })).toThrow(TypeError)
    expect(() => memoryStorage({ messagesMax: Number.NaN })).toThrow(TypeError)
    expect(() => memoryStorage({ stateBytesMax: 1.5 })).toThrow(TypeError)
  })
})
