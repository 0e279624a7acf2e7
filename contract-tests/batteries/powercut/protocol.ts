/** What the writer of the power-cut battery writes, and how it tells what it does: one line of JSON for each event. */
import type { Durability, PublishReceipt } from 'ratatoskr/ports'
import type { StateOperation } from '../harness/state-ledger.ts'

export const levels = ['os', 'interval', 'fsync'] as const satisfies readonly Durability[]
export type Level = (typeof levels)[number]
export const topicOf = (level: Level): string => `cut-${level}`

/** How long a write of level `interval` may wait for its sync: the store's default. */
export const syncIntervalMs = 50

export type WriterEvent =
  | { readonly is: 'ready' }
  | {
      readonly is: 'acked'
      readonly level: Level
      readonly producer: string
      readonly sequence: number
      readonly receipt: PublishReceipt
      readonly atMs: number
    }
  | { readonly is: 'refused'; readonly level: Level; readonly code: string; readonly atMs: number }
  | { readonly is: 'changing'; readonly operation: StateOperation; readonly atMs: number }
  | { readonly is: 'changed'; readonly atMs: number }
  | {
      readonly is: 'status'
      /** How many messages each producer has tried to publish. */
      readonly attempted: Readonly<Record<string, number>>
      /** The longest that the event loop, and that a durable publish, took within the last second. */
      readonly lateMs: number
    }

/** Milliseconds that mean the same in every process of this machine. */
export const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6

/** A message's text: all of it follows from who wrote it and its place, so that a wrong byte shows. */
export function textOf(producer: string, sequence: number): string {
  const filler = `${Math.imul(sequence + 1, 2_654_435_761) >>> 0}.`
  return `${producer}:${sequence}:${filler.repeat(1 + ((sequence * 7) % 97))}`
}
