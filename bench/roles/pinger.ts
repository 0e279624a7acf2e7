/** Publishes a message, waits until it has come back from the other side, and only then publishes the next. */

import {
  type Findings,
  MessageChecker,
  MessageMaker,
  nowMs,
  type Window,
} from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'
import { type ClientName, loadClient } from '../peers/index.ts'

export interface PingerSetup {
  readonly client: ClientName
  readonly address: string
  readonly to: string
  readonly from: string
  readonly payloadBytes: number
}

let stopped = false
let checker = new MessageChecker(0)
let sent = 0
let begin = async (): Promise<void> => {}
const over = Promise.withResolvers<void>()

serveRole({
  /** The relay's lanes need their consumers first: subscribes, and `begin` sends. */
  start: async ({ client, address, to, from, payloadBytes }: PingerSetup) => {
    const peer = await loadClient(client)
    const maker = new MessageMaker(payloadBytes)
    checker = new MessageChecker(payloadBytes, 1)
    let next = (): void => {}
    await peer.consumer(address, from, 'stream', (payload) => {
      checker.take(payload)
      if (stopped) over.resolve()
      else next()
    })
    begin = async () => {
      const producer = await peer.producer(address, to)
      next = () => {
        sent++
        producer.publish(maker.makeDue(nowMs()))
      }
      next()
    }
  },
  begin: () => begin(),
  windowBegin: () => checker.windowBegin(),
  window: (): Window => checker.windowEnd(),
  finish: async (): Promise<Findings & { readonly sent: number }> => {
    stopped = true
    await over.promise
    return { sent, ...checker.findings(sent) }
  },
})
