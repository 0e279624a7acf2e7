/** The peers of the queue scenarios: consumers that acknowledge every message by itself, everything in memory. */
import type { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import { loadPeer, type PeerName } from '../peers/index.ts'
import type { QueuePeerLoad, QueuePeerRate } from '../roles/queue-peer.ts'

const queuePeers: readonly PeerName[] = ['jetstream-memory-tuned', 'redis-memory']

const topic = 'bench'

/** Adds what each peer does, and how many times as much we do, when peers are asked for. */
export async function addQueuePeers(
  figures: Figures,
  ourMessagesPerSecond: number,
  messages: number,
  payloadBytes: number,
  options: ScenarioOptions,
): Promise<void> {
  if (!options.peers) return
  for (const name of queuePeers.filter((one) => options.peersOnly?.includes(one) ?? true)) {
    const peer = await loadPeer(name)
    if ((await peer.version()) === undefined) {
      figures.missing(name, 'not installed here')
      continue
    }
    const rate = await inFolder(options.directory, (path) => drain(name, path, messages, payloadBytes))
    figures.add(`${name}: delivered and acknowledged`, '/s', rate)
    figures.add(`we / ${name}`, '×', ourMessagesPerSecond / rate)
  }
}

/** @returns messages a second @throws Error when a message is lost or came twice */
async function drain(
  name: PeerName,
  directory: string,
  messages: number,
  payloadBytes: number,
): Promise<number> {
  const peer = await loadPeer(name)
  await using server = await peer.start(directory)
  await peer.prepare(server.address, [topic])
  await using member = new BenchProcess('queue-peer')
  const load: QueuePeerLoad = { peer: name, address: server.address, topic, messages, payloadBytes }
  await member.ask('fill', load)
  const { messagesPerSecond, findings } = (await member.ask('drain', load)) as QueuePeerRate
  const { lost, duplicated, damaged } = findings
  if (lost + duplicated + damaged > 0) throw new Error(`${name}: ${JSON.stringify(findings)}`)
  return messagesPerSecond
}
