/** Publishes single messages through any client: as fast as they are taken, or at a fixed rate. */

import { MessageMaker, nowMs } from '../../src/cli/bench/messages.ts'
import { pace } from '../../src/cli/bench/pace.ts'
import { serveRole } from '../harness/child.ts'
import type { PeerProducer } from '../harness/peer.ts'
import { type ClientName, loadClient } from '../peers/index.ts'

export interface SenderSetup {
  readonly client: ClientName
  readonly address: string
  readonly topic: string
  readonly payloadBytes: number
  readonly load: SenderLoad
}

export type SenderLoad =
  /** As many as go, but never so many ahead of the slowest consumer. */
  { readonly lagMax: number } | { readonly perSecond: number }

/** Messages between two looks at whether there is room. */
const burst = 64

let received = 0
let stopped = false
let running: Promise<number> | undefined

serveRole({
  start: async ({ client, address, topic, payloadBytes, load }: SenderSetup) => {
    const producer = await (await loadClient(client)).producer(address, topic)
    const maker = new MessageMaker(payloadBytes)
    running =
      'perSecond' in load ? paced(producer, maker, load.perSecond) : full(producer, maker, load.lagMax)
    running.catch(() => {}) // told to whoever asks for the result
  },
  received: (count: number) => {
    received = count
  },
  stop: async (): Promise<number> => {
    stopped = true
    return (await running) ?? 0
  },
})

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** @returns the number of messages published */
async function full(producer: PeerProducer, maker: MessageMaker, lagMax: number): Promise<number> {
  while (!stopped) {
    const room = producer.ready()
    if (room !== undefined) await room
    else if (maker.count - received >= lagMax) await turn()
    for (let i = 0; i < burst && maker.count - received < lagMax; i++) {
      producer.publish(maker.copyOfNext())
    }
  }
  await producer.flush()
  return maker.count
}

async function paced(producer: PeerProducer, maker: MessageMaker, perSecond: number): Promise<number> {
  await pace({ perSecond, nowMs, turn, stopped: () => stopped }, (dueMs) =>
    producer.publish(maker.makeDue(dueMs)),
  )
  await producer.flush()
  return maker.count
}
