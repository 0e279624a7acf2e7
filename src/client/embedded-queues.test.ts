/** The cases of queue groups over the embedded link, which has no transport between. */
import type { BrokerFacade, Transport } from 'ratatoskr/ports'
import { defineContract } from '../../contract-tests/suite.ts'
import { TransportContext } from '../../contract-tests/transport/context.ts'
import { deadLetterCases } from '../../contract-tests/transport/dead-letter-cases.ts'
import { probeOfLink } from '../../contract-tests/transport/link-probe.ts'
import { queueGroupCases } from '../../contract-tests/transport/queue-group-cases.ts'
import { queueLeaseCases } from '../../contract-tests/transport/queue-lease-cases.ts'
import { embeddedLink } from './embedded.ts'

/** A transport without a wire: whoever connects gets a session. */
function inProcess() {
  let facade: BrokerFacade | undefined
  const address = { url: 'embedded://here', host: 'here', port: 0 }
  const transport: Transport = {
    name: 'embedded',
    supports: {
      batches: true,
      push: true,
      credit: true,
      groups: true,
      administration: true,
      binary: true,
    },
    address,
    async start(broker) {
      facade = broker
      return address
    },
    async stop() {},
  }
  return {
    make: () => transport,
    async connect() {
      if (facade === undefined) throw new Error('the broker is not started')
      const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
      const session = await facade.connect(peer, { kind: 'none' })
      const link = embeddedLink(session, new Promise(() => {}), facade.platform.clock)
      return probeOfLink({ link, platform: facade.platform })
    },
    async sendGarbage() {},
  }
}

defineContract(
  'queue groups: embedded',
  [...queueLeaseCases, ...queueGroupCases, ...deadLetterCases],
  async () => new TransportContext(inProcess()),
)
