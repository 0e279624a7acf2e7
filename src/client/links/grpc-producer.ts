/** Publishing over one `Produce` stream: any number of batches in flight, told apart by correlation ids. */
import * as proto from '../../../proto/index.ts'
import { type BatchReceipt, type PublishOptions, RatatoskrError } from '../../ports/index.ts'
import { abortError } from '../call.ts'
import type { GrpcCall } from './grpc-call.ts'
import type { GrpcChannel } from './grpc-channel.ts'
import { durabilityFromProto, durabilityToProto } from './grpc-convert.ts'
import { errorFromProto } from './grpc-errors.ts'

interface Waiting {
  readonly partition: number
  readonly resolve: (receipt: BatchReceipt) => void
  readonly reject: (error: unknown) => void
}

const produceMethod = proto.MessageServiceService.produce

export class GrpcProducer {
  readonly #channel: GrpcChannel
  readonly #batchBytesMax: number
  readonly #waiting = new Map<number, Waiting>()
  #stream: GrpcCall | undefined
  #lastId = 0

  /** @param batchBytesMax what the broker takes: more would end the stream, and all that is in flight on it */
  constructor(channel: GrpcChannel, batchBytesMax: number) {
    this.#channel = channel
    this.#batchBytesMax = batchBytesMax
  }

  /** @throws as `Session.publishBatch` does */
  publish(
    topic: string,
    partition: number,
    batches: Uint8Array,
    options: PublishOptions | undefined,
  ): Promise<BatchReceipt> {
    return new Promise((resolve, reject) => {
      this.#check(partition, batches)
      const signal = options?.signal
      if (signal?.aborted) throw abortError(signal, 'publishing')
      const stream = this.#stream ?? this.#open()
      const correlationId = ++this.#lastId
      const durability = durabilityToProto(options?.durability)
      const lease = options?.lease
      const frame = proto.frameProduceRequest({
        correlationId,
        topic,
        partition,
        durability,
        batches,
        lease,
      })
      this.#waiting.set(
        correlationId,
        signal === undefined
          ? { partition, resolve, reject }
          : this.#abortable(correlationId, { partition, resolve, reject }, signal),
      )
      stream.write(frame)
    })
  }

  #check(partition: number, batches: Uint8Array): void {
    if (!Number.isInteger(partition) || partition < 0 || partition > 0xffff_ffff) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `partition must be a whole number from 0 to ${0xffff_ffff}, got ${partition}`,
        { details: { field: 'partition' } },
      )
    }
    if (batches.length > this.#batchBytesMax) {
      throw new RatatoskrError(
        'RTK_BATCH_TOO_LARGE',
        `the broker takes at most ${this.#batchBytesMax} bytes of batches at a time (batchBytesMax), got ${batches.length}`,
      )
    }
  }

  /** What waits for an answer no longer than until the signal fires. */
  #abortable(correlationId: number, waiting: Waiting, signal: AbortSignal): Waiting {
    const abort = (): void => {
      this.#waiting.delete(correlationId)
      waiting.reject(abortError(signal, 'publishing'))
    }
    signal.addEventListener('abort', abort, { once: true })
    return {
      partition: waiting.partition,
      resolve: (receipt) => {
        signal.removeEventListener('abort', abort)
        waiting.resolve(receipt)
      },
      reject: (error) => {
        signal.removeEventListener('abort', abort)
        waiting.reject(error)
      },
    }
  }

  #open(): GrpcCall {
    const stream = this.#channel.stream(produceMethod, {
      response: (response) => this.#answered(response),
      ended: (reason) => this.#ended(reason),
    })
    this.#stream = stream
    return stream
  }

  #answered(response: proto.ProduceResponse): void {
    const waiting = this.#waiting.get(response.correlationId)
    if (waiting === undefined) return
    this.#waiting.delete(response.correlationId)
    const { error, baseOffset, recordCount } = response
    try {
      if (error !== undefined) throw errorFromProto(error)
      const durability = durabilityFromProto(response.durability)
      const receipt = { partition: waiting.partition, baseOffset, recordCount, durability }
      const { duplicate, duplicates } = response
      if (!duplicate && duplicates.length === 0) waiting.resolve(receipt)
      else
        waiting.resolve({
          ...receipt,
          ...(duplicate && { duplicate }),
          ...(duplicates.length > 0 && { duplicates }),
        })
    } catch (failed) {
      waiting.reject(failed)
    }
  }

  #ended(reason: RatatoskrError | undefined): void {
    this.#stream = undefined
    const lost = reason ?? new RatatoskrError('RTK_DISCONNECTED', 'the broker ended the stream')
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(lost)
  }
}
