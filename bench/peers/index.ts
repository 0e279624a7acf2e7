/** Everything that the bench's processes can send and receive through, by name; only what is asked for is loaded. */
import type { Peer, PeerClient } from '../harness/peer.ts'

const peers = {
  'nats-core': async () => (await import('./nats.ts')).natsCore,
  'jetstream-file': async () => (await import('./jetstream.ts')).jetStreamFile,
  'jetstream-file-tuned': async () => (await import('./jetstream.ts')).jetStreamFileTuned,
  'jetstream-memory': async () => (await import('./jetstream.ts')).jetStreamMemory,
  'jetstream-memory-tuned': async () => (await import('./jetstream.ts')).jetStreamMemoryTuned,
  'redis-memory': async () => (await import('./redis.ts')).redisMemory,
  'redis-everysec': async () => (await import('./redis.ts')).redisEverySecond,
  'redis-always': async () => (await import('./redis.ts')).redisAlways,
  'rabbitmq-stream': async () => (await import('./rabbitmq.ts')).rabbitMq,
  aedes: async () => (await import('./aedes.ts')).aedes,
} satisfies Record<string, () => Promise<Peer>>

export type PeerName = keyof typeof peers
export const peerNames: readonly string[] = Object.keys(peers)

export const loadPeer = (name: PeerName): Promise<Peer> => peers[name]()

/** What a sending or receiving process speaks: a peer's protocol, ours, or the bare relay's. */
export type ClientName = PeerName | 'ratatoskr' | 'ceiling'

export async function loadClient(name: ClientName): Promise<PeerClient> {
  if (name === 'ratatoskr') return (await import('./ratatoskr.ts')).ratatoskr
  if (name === 'ceiling') return (await import('./ceiling.ts')).ceiling
  return loadPeer(name)
}
