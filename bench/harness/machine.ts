/** The machine that figures were measured on: without it they mean nothing. */
import { cpus, loadavg, release, totalmem } from 'node:os'

export type Machine = Readonly<Record<string, string | number>>

export function machine(): Machine {
  const processors = cpus()
  return {
    node: process.version,
    system: `${process.platform} ${process.arch}`,
    kernel: release(),
    processor: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    /** Processes that wanted to run in the minute before, those of the bench included. */
    loadAverage: Number(loadavg()[0].toFixed(2)),
  }
}
