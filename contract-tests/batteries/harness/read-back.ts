/** Reading back with an end to patience: a reader waits for ever for what is missing. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'ratatoskr/client'
import { readAll, type StoredMessage } from '../../testing/chaos.ts'

const readMsMax = 20_000

/** Everything that a topic holds, or what comes from given offsets on. */
export function readBack(
  client: Client,
  topic: string,
  from?: ReadonlyMap<number, number>,
): Promise<StoredMessage[]> {
  return Promise.race([
    readAll(client, topic, from),
    tooLate(readMsMax, `broken promises: ${topic} was not read to its end`),
  ])
}

/** @throws Error after the time given: for races */
export async function tooLate(ms: number, problem: string): Promise<never> {
  await pause(ms, undefined, { ref: false })
  throw new Error(`${problem} within ${ms} ms`)
}
