/** `Produce`: record batches in, receipts out, any number in flight up to a bound on their bytes. */
import type { BatchReceipt, Session } from 'ratatoskr/ports'
import { giveBackBytes, toRatatoskrError } from 'ratatoskr/ports'
import type { ProduceRequest } from 'ratatoskr/proto'
import * as proto from 'ratatoskr/proto'
import {
  type CallHost,
  failure,
  InFlight,
  type OpenStream,
  StreamWriter,
  stopping,
  withSession,
} from './calls.ts'
import { duplicatesToProto, durabilityFromProto, durabilityToProto } from './convert.ts'
import type { DuplexCall } from './data-stream.ts'
import { errorToProto, type Incoming, readable } from './status.ts'

/** What a request that failed is not answered with. */
const nothing: Omit<proto.ProduceResponse, 'correlationId' | 'error'> = {
  baseOffset: 0,
  recordCount: 0,
  durability: 0,
  duplicate: false,
  duplicates: [],
}

type ProduceCall = DuplexCall<Incoming<ProduceRequest>>

/** Batches of one stream whose receipts are not yet sent: reading pauses above. */
const batchesInFlightMax = 1_024
const bytesInFlightMax = 16 * 1024 * 1024

export const produce = (host: CallHost) => (call: ProduceCall) => {
  const stream = new ProduceStream(host, call)
  withSession(
    host,
    call,
    (session) => stream.run(session),
    (error) => stream.end(error),
  )
}

class ProduceStream implements OpenStream {
  readonly #host: CallHost
  readonly #call: ProduceCall
  readonly #writer: StreamWriter<proto.MessageFrame>
  readonly #inFlight: InFlight
  #draining = false

  constructor(host: CallHost, call: ProduceCall) {
    this.#host = host
    this.#call = call
    this.#writer = new StreamWriter(call, Number.POSITIVE_INFINITY)
    this.#inFlight = new InFlight(call, batchesInFlightMax, bytesInFlightMax)
    host.streams.add(this)
    call.once('cancelled', () => host.streams.delete(this))
  }

  run(session: Session): void {
    const call = this.#call
    call.on('data', (request: Incoming<ProduceRequest>) => {
      if (this.#writer.over || this.#draining) return
      try {
        this.#publish(session, readable(request))
      } catch (error) {
        this.end(error)
      }
    })
    call.once('end', () => this.#inFlight.whenIdle(() => this.end()))
    call.resume()
  }

  drain(): void {
    this.#draining = true
    this.#inFlight.whenIdle(() => this.end(stopping()))
  }

  end(error?: unknown): void {
    this.#host.streams.delete(this)
    this.#writer.end(error === undefined ? undefined : failure(this.#host, error))
  }

  #publish(session: Session, request: ProduceRequest): void {
    const { correlationId, topic, partition, batches, lease } = request
    this.#inFlight.enter(batches.length)
    try {
      const durability = durabilityFromProto(request.durability)
      const result = session.publishBatch(
        topic,
        partition,
        batches,
        durability === undefined && lease === undefined ? undefined : { durability, lease },
      )
      if (result instanceof Promise) {
        result.then(
          (receipt) => this.#succeed(correlationId, receipt, batches),
          (error: unknown) => this.#fail(correlationId, error, batches.length),
        )
      } else this.#succeed(correlationId, result, batches)
    } catch (error) {
      this.#fail(correlationId, error, batches.length)
    }
  }

  #succeed(correlationId: number, receipt: BatchReceipt, batches: Uint8Array): void {
    const sizeBytes = batches.length
    giveBackBytes(batches) // whoever still has them holds them himself
    const { baseOffset, recordCount } = receipt
    const durability = durabilityToProto(receipt.durability)
    const { duplicate, duplicates } = duplicatesToProto(receipt)
    this.#answer(
      { correlationId, error: undefined, baseOffset, recordCount, durability, duplicate, duplicates },
      sizeBytes,
    )
  }

  #fail(correlationId: number, thrown: unknown, sizeBytes: number): void {
    const error = errorToProto(toRatatoskrError(thrown))
    this.#answer({ ...nothing, correlationId, error }, sizeBytes)
  }

  #answer(response: proto.ProduceResponse, sizeBytes: number): void {
    if (this.#writer.over) return
    const frame = proto.frameOf(proto.ProduceResponse.encode(response).finish())
    this.#writer.write(frame, frame[0].length, () => this.#inFlight.leave(sizeBytes))
  }
}
