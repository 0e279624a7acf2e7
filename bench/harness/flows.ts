/** Flows of single messages through any client: a sender and receivers, or two sides that send a message to and fro. */

import type { Findings, Window } from '../../src/cli/bench/messages.ts'
import type { ClientName } from '../peers/index.ts'
import type { EchoSetup } from '../roles/echo.ts'
import type { PingerSetup } from '../roles/pinger.ts'
import type { ReceiverSetup } from '../roles/receiver.ts'
import type { SenderLoad, SenderSetup } from '../roles/sender.ts'
import type { Delivery } from './peer.ts'
import { BenchProcess, type Measured } from './process.ts'
import type { Run } from './report.ts'
import { runStream, sleep, usesOf, warmUpMs } from './stream.ts'

/** Where messages go through. */
export interface Through {
  readonly client: ClientName
  readonly address: string
  readonly server: Measured
}

export interface MessageFlow {
  readonly topic: string
  readonly delivery: Delivery
  readonly load: SenderLoad
  readonly payloadBytes: number
  readonly seconds: number
  /** Receiving processes, and how many subscriptions each has. */
  readonly receivers: number
  readonly subscribers: number
}

const pingTopic = 'ping'
const pongTopic = 'pong'
export const pingPongTopics: readonly string[] = [pingTopic, pongTopic]

export async function runMessages(through: Through, flow: MessageFlow): Promise<Run> {
  const { client, address, server } = through
  const { topic, delivery, load, payloadBytes, seconds, receivers, subscribers } = flow
  await using stack = new AsyncDisposableStack()
  const sender = stack.use(new BenchProcess('sender'))
  const common = { client, address, topic, payloadBytes }
  const receiverSetup: ReceiverSetup = { ...common, delivery, subscribers, everyTimed: 'perSecond' in load }
  const consumers = Array.from({ length: receivers }, () => ({
    process: stack.use(new BenchProcess('receiver')),
    setup: receiverSetup,
  }))
  const setup: SenderSetup = { ...common, load }
  return await runStream(server, { process: sender, setup }, consumers, seconds)
}

/** Messages a second are round trips; latency is that of a round trip. */
export async function runPingPong(
  { client, address, server }: Through,
  payloadBytes: number,
  seconds: number,
): Promise<Run> {
  await using pinger = new BenchProcess('pinger')
  await using echo = new BenchProcess('echo')
  const setup: PingerSetup = { client, address, to: pingTopic, from: pongTopic, payloadBytes }
  await pinger.ask('start', setup)
  await echo.ask('start', { client, address, from: pingTopic, to: pongTopic } satisfies EchoSetup)
  await pinger.ask('begin')
  await sleep(warmUpMs(seconds))
  const measured = { broker: server, pinger, echo }
  await Promise.all(Object.values(measured).map((process) => process.windowBegin()))
  await sleep(seconds * 1_000)
  const window = (await pinger.ask('window')) as Window
  const processes = await usesOf(measured)
  const { sent, received: _received, ...harm } = (await pinger.ask('finish')) as Findings & { sent: number }
  const messagesPerSecond = Math.round(window.messages / window.seconds)
  return { messagesPerSecond, latencyMs: window.latencyMs, processes, sent, ...harm }
}
