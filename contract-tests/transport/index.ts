/** The transport suite: the specification of `Transport`, over a real broker and real connections. */
import { type ContractCase, type ContractOptions, defineContract } from '../suite.ts'
import { administrationCases } from './administration-cases.ts'
import { consumeCases } from './consume-cases.ts'
import { TransportContext, type TransportSetup } from './context.ts'
import { deadLetterCases } from './dead-letter-cases.ts'
import { duplicateCases } from './duplicate-cases.ts'
import { expiryCases } from './expiry-cases.ts'
import { leasePublishCases } from './lease-publish-cases.ts'
import { lifecycleCases } from './lifecycle-cases.ts'
import { overflowCases } from './overflow-cases.ts'
import { publishCases } from './publish-cases.ts'
import { queueGroupCases } from './queue-group-cases.ts'
import { queueLeaseCases } from './queue-lease-cases.ts'
import { scheduleCases } from './schedule-cases.ts'
import { storageCases } from './storage-cases.ts'

export type { TransportMakeOptions, TransportSetup } from './context.ts'
export { TransportContext } from './context.ts'
export { type LinkProbeOptions, probeOfLink } from './link-probe.ts'
export type {
  ProbeSink,
  ProbeSubscribeOptions,
  ProbeSubscription,
  QueueProbe,
  TransportProbe,
} from './probe.ts'

/** Every case of the suite, for running it on transports that must fail it. */
export const transportCases: readonly ContractCase<TransportContext>[] = [
  ...lifecycleCases,
  ...administrationCases,
  ...publishCases,
  ...duplicateCases,
  ...consumeCases,
  ...overflowCases,
  ...expiryCases,
  ...scheduleCases,
  ...queueLeaseCases,
  ...leasePublishCases,
  ...queueGroupCases,
  ...deadLetterCases,
  ...storageCases,
]

/**
 * Runs the suite on a transport.
 * @param setup called for each case; `make` must give a new transport each time
 */
export function transportContract(
  title: string,
  setup: () => Promise<TransportSetup>,
  options: ContractOptions = {},
): void {
  defineContract(
    `transport contract: ${title}`,
    transportCases,
    async () => new TransportContext(await setup()),
    options,
  )
}
