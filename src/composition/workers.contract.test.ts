/** The transport contract on a broker of three workers, by connections to one that is not the controller. */
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { TransportContext, transportCases } from 'ratatoskr/contract-tests'
import { defineContract } from '../../contract-tests/suite.ts'
import type { CaseBrokerOptions } from '../../contract-tests/transport/context.ts'
import type { BoundAddress, Transport } from '../ports/index.ts'
import { brokerWith } from './create-broker.ts'
import { tcpSetup } from './testing/tcp-setup.ts'
import { ThreadsHere } from './testing/threads-here.ts'

const platform = nodePlatform({ logger: silentLogger })

class WorkersContext extends TransportContext {
  override async broker({ directory, ...given }: CaseBrokerOptions = {}) {
    const transport = this.setup.make({ port: 0 })
    // Each opens one of its own.
    const storageOf = (worker: number) =>
      directory === undefined ? memoryStorage() : diskStorage({ directory: join(directory, `${worker}`) })
    const optionsOf = (worker: number) => ({ storage: storageOf(worker), platform, ...given })
    const entries: Transport[] = []
    const threads = new ThreadsHere(3, optionsOf, (worker) => {
      entries[worker] = this.setup.make({ port: 0 })
      return entries[worker]
    })
    const broker = await brokerWith({ transports: [transport], ...optionsOf(0) }, threads)
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

defineContract(
  'transport contract: an entry of three workers',
  transportCases,
  async () => new WorkersContext(tcpSetup),
)
