/** What a scenario is: a name, a line for the list, and a function that measures and reports. */
import type { FigureReport } from './figures.ts'
import type { Report } from './report.ts'

export interface ScenarioOptions {
  /** Length of a measured window. */
  readonly seconds: number
  /** Each contestant runs so often, in turns. */
  readonly runs: number
  readonly payloadBytes: number
  /** Size at which a producer's batch is full. */
  readonly batchBytes: number
  /** How many messages are stored, where a scenario is about an amount and not about a time. */
  readonly messages: number
  /** How many topics there are, where a scenario is about topics. */
  readonly topics: number
  /** Where folders for data are made; on a disk, not in memory, or `fsync` means nothing. */
  readonly directory: string
  /** Where CPU profiles of the broker are written; none without. */
  readonly profileDirectory: string | undefined
  /** Run the peers as well, those that are installed. */
  readonly peers: boolean
  /** Only these of them. */
  readonly peersOnly?: readonly string[] | undefined
  /** The broker's limit of that name; its default when undefined. */
  readonly loopDelayMsMax: number | undefined
  /** Walk the records of what is published. */
  readonly verifyRecords: boolean
  /** Tells how it goes, on standard error. */
  readonly progress: (line: string) => void
}

export interface Scenario {
  readonly name: string
  readonly about: string
  run(options: ScenarioOptions): Promise<Report | FigureReport>
}
