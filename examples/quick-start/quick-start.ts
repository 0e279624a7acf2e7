import { createBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { httpTransport } from 'ratatoskr/adapters/http'

const broker = await createBroker({
  storage: diskStorage({ directory: './data' }),
  transports: [httpTransport({ port: 8080 })],
})
await broker.start()

const { offset, durability } = await broker.publish('nuts', 'three hazelnuts', { key: 'customer-7' })
console.log(`stored at offset ${offset}, durability ${durability}`)

for await (const message of await broker.subscribe('nuts', { from: 'earliest' })) {
  console.log(`${message.keyText()}: ${message.text()}`)
  break
}
await broker.stop()
