/**
 * Another worker as this one knows it: the same object while that worker ends and is started again. Calls go over the link
 * of the moment; without one they fail at once with RTK_UNAVAILABLE.
 */
import type { MeshChannel } from './mesh-channel.ts'
import { linkClosed } from './mesh-errors.ts'
import {
  type AppendWaiter,
  type MeshAnswer,
  MeshLink,
  type MeshService,
  type ServeAppend,
} from './mesh-link.ts'
import type { MeshOperations, PartitionAddress } from './mesh-operations.ts'

type Takes<Name extends keyof MeshOperations> = MeshOperations[Name]['takes']
type Gives<Name extends keyof MeshOperations> = MeshOperations[Name]['gives']

/** Somebody who must know when a worker comes and goes. */
export interface PeerWatcher {
  up(): void
  down(): void
}

export class Peer {
  readonly index: number
  #link: MeshLink<MeshOperations> | undefined
  readonly #watchers = new Set<PeerWatcher>()
  #nextHandle = 1

  constructor(index: number) {
    this.index = index
  }

  get connected(): boolean {
    return this.#link !== undefined
  }

  /** Takes a new channel to the worker; the one before is closed. */
  connect(channel: MeshChannel, service: MeshService<MeshOperations>, serveAppend: ServeAppend): void {
    this.disconnect()
    const link: MeshLink<MeshOperations> = new MeshLink(channel, service, serveAppend, () => {
      if (this.#link !== link) return
      this.#link = undefined
      for (const watcher of [...this.#watchers]) watcher.down()
    })
    this.#link = link
    for (const watcher of [...this.#watchers]) watcher.up()
  }

  disconnect(): void {
    this.#link?.close()
  }

  /** @throws as `MeshLink.call` */
  call<Name extends keyof MeshOperations>(
    name: Name,
    takes: Takes<Name>,
    bytes?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<MeshAnswer<Gives<Name>>> {
    const link = this.#link
    if (link === undefined) return Promise.reject(linkClosed())
    return link.call(name, takes as never, bytes, signal) as Promise<MeshAnswer<Gives<Name>>>
  }

  /** A number that stands for a partition, for as long as the worker is connected. */
  handleFor(address: PartitionAddress): number {
    const handle = this.#nextHandle++
    this.tell('nameHandle', { ...address, handle })
    return handle
  }

  /** See `MeshLink.append`. */
  append(
    handle: number,
    recordCount: number,
    durability: number,
    batch: Uint8Array,
    waiter: AppendWaiter,
  ): void {
    if (this.#link === undefined) waiter.reject(linkClosed())
    else this.#link.append(handle, recordCount, durability, batch, waiter)
  }

  tell<Name extends keyof MeshOperations>(name: Name, takes: Takes<Name>): void {
    this.#link?.tell(name, takes as never)
  }

  watch(watcher: PeerWatcher): Disposable {
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }
}
