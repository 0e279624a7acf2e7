import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import { type Plugin, RatatoskrError, utf8Text } from 'ratatoskr/ports'
import { expect, it } from 'vitest'

it('lets plugins read the messages of a batch: observers as they are stored, guards before', async () => {
  const seen: [string, number, string][] = []
  const reader: Plugin = {
    name: 'reader',
    setup(context) {
      context.on('messagePublished', (event) => {
        for (const message of context.messages(event))
          seen.push([message.id, message.offset, utf8Text(message.payload)])
      })
      context.before('publish', (event) => {
        for (const { payload } of context.messages(event)) {
          if (utf8Text(payload) === 'forbidden')
            throw new RatatoskrError('RTK_PERMISSION_DENIED', 'not this word')
        }
      })
    },
  }
  await using broker = await createBroker({
    storage: memoryStorage(),
    plugins: [reader],
    platform: { logger: silentLogger },
  })
  await broker.start()
  const first = await broker.publish('orders', 'one')
  await expect(broker.publish('orders', 'forbidden')).rejects.toMatchObject({ code: 'RTK_PERMISSION_DENIED' })
  const second = await broker.publish('orders', 'two')
  expect(seen).toEqual([
    [first.id, 0, 'one'],
    [second.id, 1, 'two'],
  ])
})
