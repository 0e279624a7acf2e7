/** aedes, an MQTT broker for Node, as a peer: in a process of its own, everything in memory. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Aedes } from 'aedes'
import { serveRole } from '../harness/child.ts'

serveRole({
  start: async (): Promise<string> => {
    const broker = await Aedes.createBroker()
    const server = createServer({ noDelay: true }, broker.handle).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  },
})
