import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import { expect, it } from 'vitest'

it('a loop that awaits publish after publish lets timers and sockets of the process have their turn', async () => {
  await using broker = await createBroker({ storage: memoryStorage(), platform: { logger: silentLogger } })
  await broker.start()
  let over = false
  setTimeout(() => {
    over = true
  }, 20)
  // Bounded, so that a loop which starves the timer ends all the same, and fails.
  let published = 0
  while (!over && published < 200_000) {
    await broker.publish('orders', 'x')
    published++
  }
  expect(over).toBe(true)
})
