import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { startTestBroker } from 'ratatoskr/testing'
import { expect, it } from 'vitest'
import { withClient } from './connection.ts'

it('says that the connection is lost, and not that the client is closed for it', async () => {
  const broker = await startTestBroker({ transports: [webSocketTransport({ port: 0 })] })
  const options = { url: broker.addresses[0].url, timeout: '5000', output: 'json' } as const
  const work = withClient(options, async (client) => {
    await client.listTopics()
    await broker.stop()
    await client.closed
    return client.listTopics()
  })
  await expect(work).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
})
