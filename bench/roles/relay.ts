/** A bare TCP relay: passes what its producer sends to its consumer, unread. What any broker in Node could reach at most. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { serveRole } from '../harness/child.ts'

export interface RelayAddress {
  readonly producerPort: number
  readonly consumerPort: number
}

serveRole({
  start: async (): Promise<RelayAddress> => {
    let consumer: Socket | undefined
    const consumerPort = await listen((socket) => {
      consumer = socket
    })
    const producerPort = await listen((socket) => {
      if (consumer === undefined) throw new Error('the consumer connects first')
      socket.pipe(consumer)
    })
    return { producerPort, consumerPort }
  },
})

async function listen(connected: (socket: Socket) => void): Promise<number> {
  const server = createServer({ noDelay: true }, connected).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
