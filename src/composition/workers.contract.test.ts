/** The transport contract on a broker of three workers, by connections to one that is not the controller. */
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { probeOfLink, TransportContext, transportCases } from 'ratatoskr/contract-tests'
import { defineContract } from '../../contract-tests/suite.ts'
import { openTcpLink } from '../client/links/tcp.ts'
import type { BoundAddress, Transport } from '../ports/index.ts'
import type { BrokerOptions } from './broker-options.ts'
import { brokerWith } from './create-broker.ts'
import { ThreadsHere } from './testing/threads-here.ts'

const platform = nodePlatform({ logger: silentLogger })

class WorkersContext extends TransportContext {
  constructor() {
    super({
      make: ({ host, port, insecure }) => tcpTransport({ host, port, insecure }),
      connect: async ({ url }, token) => {
        const link = await openTcpLink(new URL(url), {
          credentials: token === undefined ? { kind: 'none' } : { kind: 'bearer', token },
          platform,
          frameBytesMax: 64 * 1024 * 1024,
        })
        return probeOfLink({ link, platform })
      },
      sendGarbage: async () => {},
    })
  }

  override async broker(given: Partial<BrokerOptions> = {}) {
    const transport = this.setup.make({ port: 0 })
    const options = { storage: memoryStorage(), platform, transports: [transport], ...given }
    const entries: Transport[] = []
    const threads = new ThreadsHere(
      3,
      // Each worker opens one of its own.
      () => options,
      (index) => {
        entries[index] = this.setup.make({ port: 0 })
        return entries[index]
      },
    )
    const broker = await brokerWith(options, threads)
    await broker.start()
    this.defer(() => broker.stop())
    return {
      broker,
      transport,
      connect: async (token?: string) => {
        const probe = await this.setup.connect(entries[1].address as BoundAddress, token)
        this.defer(() => probe.close())
        return probe
      },
    }
  }
}

/** What asks the controller for what workers tell it once a second only, and what would have workers share a directory. */
const elsewhere: ReadonlySet<string> = new Set([
  'drops the oldest messages for a subscriber that wants it so, and tells it which',
  'drops the newest messages for a subscriber that wants it so, and goes on once it has caught up',
  'tells of records that are lost to damage, and delivers the others',
  'refuses leases of before a restart of the broker; those after it are greater',
])

defineContract(
  'transport contract: an entry of three workers',
  transportCases.filter(({ name }) => !elsewhere.has(name)),
  async () => new WorkersContext(),
)
