/**
 * The binary stream of a subscription: the frames of the WebSocket protocol, each after its length as uint32. A frame
 * that begins with `{` is a JSON event (`subscribed`, `assigned`, `ended`), an empty one says only that the broker is
 * there; the others carry batches as they are stored.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import {
  type BatchDelivery,
  encodeDeliverHeader,
  errorToJson,
  type RatatoskrError,
  type Session,
  type SubscribeOptions,
  type Subscription,
  utf8,
} from 'ratatoskr/ports'
import type { RouteContext } from './http-transport.ts'

/** Content type of the stream. */
export const frameContentType = 'application/vnd.ratatoskr.frames'

// What may be on its way in the broker beside the one write that is in the socket.
const creditBytes = 4 * 1024 * 1024

/** Pushes batches until the reader leaves, the subscription ends, or the transport stops. */
export async function streamFrames(
  context: RouteContext,
  session: Session,
  topic: string,
  options: SubscribeOptions,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const frames = new FrameWriter(reply.raw, context)
  let subscription: Subscription | undefined
  let owed = 0
  const repay = () => {
    if (subscription === undefined) return
    subscription.grant({ bytes: owed })
    owed = 0
  }
  subscription = await session.subscribe(
    topic,
    { ...options, credit: { bytes: creditBytes } },
    {
      assigned: (partitions) => frames.event({ event: 'assigned', partitions }),
      deliver: (delivery) => {
        owed += delivery.bytes.length
        repay()
        return frames.deliver(delivery)
      },
      ended: (reason) => frames.end(reason),
    },
  )
  repay()
  context.streams.add(session, subscription, reply.raw, (reason) => frames.end(reason))
  reply.hijack()
  frames.begin({ event: 'subscribed', subscription: subscription.id, member: subscription.member })
  return reply
}

class FrameWriter {
  readonly #response: ServerResponse
  readonly #context: RouteContext
  #begun = false
  #ended = false
  #early: (() => void)[] = []

  constructor(response: ServerResponse, context: RouteContext) {
    this.#response = response
    this.#context = context
  }

  /** Sends the headers, the first event, and what was sent before. */
  begin(first: object): void {
    this.#response.writeHead(200, { 'content-type': frameContentType, 'cache-control': 'no-store' })
    this.#begun = true
    this.event(first)
    for (const send of this.#early) send()
    this.#early = []
    this.#beat()
  }

  // An empty frame: readers and proxies give up on connections that stay silent.
  #beat(): void {
    const { broker, heartbeatMs } = this.#context
    const timer = broker.platform.clock.after(heartbeatMs, () => {
      if (this.#response.writableEnded || this.#response.destroyed) return
      if (!this.#response.writableNeedDrain) this.#response.write(emptyFrame)
      this.#beat()
    })
    this.#response.once('close', () => timer[Symbol.dispose]())
  }

  event(event: object): void {
    this.#send(() => {
      const text = utf8(JSON.stringify(event))
      this.#response.write(lengthPrefixed(text.length, text))
    })
  }

  /** @returns a promise while the write is not in the kernel: one write at a time is the back-pressure */
  deliver(delivery: BatchDelivery): Promise<void> {
    return new Promise((resolve) => {
      this.#send(() => {
        if (this.#response.writableEnded) {
          resolve()
          return
        }
        const { bytes, partition, fromOffset, nextOffset } = delivery
        const header = encodeDeliverHeader(0, partition, fromOffset, nextOffset)
        this.#response.cork()
        this.#response.write(lengthPrefixed(header.length + bytes.length, header))
        // The callback also comes, with an error, when the peer has gone.
        this.#response.write(bytes, () => resolve())
        this.#response.uncork()
      })
    })
  }

  /** Says why the stream ends, and ends it. Only the first reason counts. */
  end(reason: RatatoskrError | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.event(reason === undefined ? { event: 'ended' } : { event: 'ended', error: errorToJson(reason) })
    this.#send(() => this.#response.end())
  }

  #send(send: () => void): void {
    if (this.#begun) send()
    else this.#early.push(send)
  }
}

const emptyFrame = new Uint8Array(4)

function lengthPrefixed(length: number, bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(4 + bytes.length)
  new DataView(framed.buffer).setUint32(0, length)
  framed.set(bytes, 4)
  return framed
}
