/** Setups of the memory stores for the contract suites. */
import type { LogStoreContext, StateStoreContext } from 'ratatoskr/contract-tests'
import type { Platform, Stores } from 'ratatoskr/ports'
import { memoryStorage } from '../index.ts'

// Memory needs nothing of the platform: what it must not touch is not there.
const noPlatform = {} as Platform
const openMemory = (options?: Parameters<typeof memoryStorage>[0]): Stores =>
  memoryStorage(options).open(noPlatform)

export async function memoryLogSetup(): Promise<LogStoreContext> {
  let current = openMemory().logs
  return {
    subject: current,
    async reopen() {
      await current.stop()
      await current.start()
      return current
    },
    async crash() {
      current = openMemory().logs
      await current.start()
      return current
    },
    async bounded(bytesMax) {
      const { logs } = openMemory({ bytesMax })
      await logs.start()
      return logs
    },
    teardown: () => current.stop(),
  }
}

export async function memoryStateSetup(): Promise<StateStoreContext> {
  let current = openMemory().state
  return {
    subject: current,
    async reopen() {
      await current.stop()
      await current.start()
      return current
    },
    async crash() {
      current = openMemory().state
      await current.start()
      return current
    },
    async bounded(bytesMax) {
      const { state } = openMemory({ stateBytesMax: bytesMax })
      await state.start()
      return state
    },
    teardown: () => current.stop(),
  }
}
