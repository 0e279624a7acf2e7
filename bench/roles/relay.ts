/** A bare TCP relay: passes what a producer sends to all consumers, unread. What any broker in Node could reach at most. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { serveRole } from '../harness/child.ts'

export interface RelayAddress {
  readonly producerPort: number
  readonly consumerPort: number
}

/** By topic. */
export type RelayAddresses = Readonly<Record<string, RelayAddress>>

serveRole({
  start: async (topics: readonly string[]): Promise<RelayAddresses> => {
    const lanes = topics.map(async (topic) => [topic, await openLane()] as const)
    return Object.fromEntries(await Promise.all(lanes))
  },
})

async function openLane(): Promise<RelayAddress> {
  const consumers: Socket[] = []
  const consumerPort = await listen((socket) => {
    consumers.push(socket)
  })
  const producerPort = await listen((socket) => {
    if (consumers.length === 0) throw new Error('the consumers connect first')
    socket.setMaxListeners(0)
    // Each pipe stops reading until its consumer has room: the slowest sets the pace.
    for (const consumer of consumers) socket.pipe(consumer)
  })
  return { producerPort, consumerPort }
}

async function listen(connected: (socket: Socket) => void): Promise<number> {
  const server = createServer({ noDelay: true }, connected).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
