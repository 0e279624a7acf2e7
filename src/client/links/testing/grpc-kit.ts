/** A sink for the tests of the gRPC link, and opening one. */
import { platform } from '../../../../adapters/grpc/testing/harness.ts'
import {
  type BatchDelivery,
  type BatchSink,
  type Credentials,
  type PartitionOffset,
  type RatatoskrError,
  recordsFrom,
} from '../../../ports/index.ts'
import type { Link } from '../../link.ts'
import { openGrpcLink } from '../grpc.ts'

export const MIB = 1024 * 1024
export const fromStart = { from: 'earliest', credit: { bytes: 8 * MIB } } as const

export const open = (
  url: string,
  credentials: Credentials = { kind: 'none' },
  signal?: AbortSignal,
): Promise<Link> => openGrpcLink(new URL(url), { credentials, platform, signal, frameBytesMax: 16 * MIB })

/** A sink that notes what it is told, and can be full. */
export class NotingSink implements BatchSink {
  readonly calls: string[] = []
  readonly deliveries: BatchDelivery[] = []
  readonly over = Promise.withResolvers<RatatoskrError | undefined>()
  records = 0
  onDelivery: (delivery: BatchDelivery) => void | Promise<void> = () => undefined
  #changed = Promise.withResolvers<void>()

  assigned(partitions: readonly PartitionOffset[]): void {
    this.#note(`assigned ${partitions.map(({ partition, offset }) => `${partition}@${offset}`).join(' ')}`)
  }

  deliver(delivery: BatchDelivery): void | Promise<void> {
    this.deliveries.push(delivery)
    this.records += recordsFrom(delivery.bytes, delivery.fromOffset)
    this.#note(`deliver ${delivery.partition}@${delivery.fromOffset}-${delivery.nextOffset}`)
    return this.onDelivery(delivery)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.#note(`ended ${reason?.code}`)
    this.over.resolve(reason)
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await this.#changed.promise
  }

  #note(call: string): void {
    this.calls.push(call)
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}
