import { Duplex } from 'node:stream'
import { BatchMemory, keepBytes } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import type { Framing } from './carrier.ts'
import { FrameWriter } from './frame-writer.ts'

/** A socket whose kernel takes bytes when the test says so. */
class StuckSocket extends Duplex {
  readonly taken: Buffer[] = []
  /** System calls, were this a socket. */
  calls = 0
  #release: (() => void) | undefined

  override _writev(chunks: { chunk: Buffer }[], callback: () => void): void {
    this.calls++
    this.#release = () => {
      this.taken.push(...chunks.map(({ chunk }) => chunk))
      callback()
    }
  }

  /** Lets the kernel take what it was given. */
  async release(): Promise<void> {
    await turn()
    this.#release?.()
    await turn()
  }

  /** The frames that were taken, each by its first byte. */
  get frames(): number[] {
    const all = Buffer.concat(this.taken)
    const seen: number[] = []
    for (let at = 0; at < all.length; at += 5 + all.readUInt32BE(at + 1)) seen.push(all[at + 5])
    return seen
  }
}

/** A byte that tells text from binary, and the length. */
const marked: Framing = {
  headerBytes: () => 5,
  writeHeader(target, text, length) {
    target[0] = text ? 1 : 0
    new DataView(target.buffer, target.byteOffset).setUint32(1, length)
  },
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const bytes = (mark: number, size: number): Uint8Array => new Uint8Array(size).fill(mark)
const none = new Uint8Array(0)

function writerOn(socket: StuckSocket, pendingBytesMax = 1e9) {
  let fulls = 0
  const writer = new FrameWriter(socket, marked, pendingBytesMax, { pause: () => fulls++ })
  return { writer, fulls: () => fulls }
}

const settled = async (promise: unknown): Promise<boolean> => {
  await turn()
  return Promise.race([Promise.resolve(promise).then(() => true), turn().then(() => false)])
}

describe('what a connection sends', () => {
  it('puts the header of its carrier before each frame, body and head as one', async () => {
    const socket = new StuckSocket()
    const { writer } = writerOn(socket)
    writer.text('é{}')
    writer.binary(bytes(7, 3))
    void writer.deliverBinary(bytes(9, 2), bytes(8, 100_000))
    await socket.release()
    const all = Buffer.concat(socket.taken)
    expect(all.subarray(0, 9)).toEqual(Buffer.from([1, 0, 0, 0, 4, 0xc3, 0xa9, 0x7b, 0x7d]))
    expect(all.subarray(9, 17)).toEqual(Buffer.from([0, 0, 0, 0, 3, 7, 7, 7]))
    expect(all.subarray(17, 25)).toEqual(Buffer.from([0, 0, 1, 0x86, 0xa2, 9, 9, 8]))
    expect(all.length).toBe(17 + 5 + 100_002)
  })

  it('refuses a delivery that is larger than the peer takes', () => {
    const { writer } = writerOn(new StuckSocket())
    writer.frameBytesMax = 100
    expect(() => writer.deliverBinary(bytes(1, 32), bytes(2, 69))).toThrow(
      expect.objectContaining({ code: 'RTK_BATCH_TOO_LARGE' }),
    )
    expect(() => writer.deliverText('x'.repeat(200))).toThrow(/at most 100 bytes/)
    expect(writer.deliverBinary(bytes(1, 32), bytes(2, 68))).toBeUndefined()
  })

  it('does not copy the body', async () => {
    const socket = new StuckSocket()
    const { writer } = writerOn(socket)
    const body = bytes(8, 100_000)
    void writer.deliverBinary(bytes(9, 32), body)
    await socket.release()
    expect(socket.taken.at(-1)?.buffer).toBe(body.buffer)
  })

  it('lets small deliveries flow, and large ones wait for each other in turn, while replies pass', async () => {
    const socket = new StuckSocket()
    const { writer } = writerOn(socket)
    expect(writer.deliverBinary(bytes(1, 100), none)).toBeUndefined()
    const first = writer.deliverBinary(bytes(2, 100_000), none)
    const second = writer.deliverBinary(bytes(3, 100_000), none)
    const third = writer.deliverBinary(bytes(4, 10), none)
    const idle = writer.idle()
    writer.binary(bytes(5, 10))
    expect(await settled(first)).toBe(false)
    await socket.release()
    expect(socket.frames).toEqual([1, 2, 5])
    expect(await settled(first)).toBe(true)
    expect(await settled(second)).toBe(false)
    await socket.release()
    expect(await settled(Promise.all([second, third, idle]))).toBe(true)
    await socket.release()
    expect(socket.frames).toEqual([1, 2, 5, 3, 4])
  })

  it('sends deliveries when the current work is done, and replies when the turn is over, each kind in one call', async () => {
    const nextTick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))
    const socket = new StuckSocket()
    const { writer } = writerOn(socket)
    writer.text('a')
    writer.binary(bytes(1, 10))
    await nextTick()
    await nextTick()
    expect(socket.calls).toBe(0)
    await socket.release()
    expect(socket.calls).toBe(1)
    writer.binary(bytes(2, 10))
    void writer.deliverBinary(bytes(3, 10), bytes(4, 10))
    void writer.deliverBinary(bytes(5, 10), bytes(6, 100))
    await nextTick()
    await nextTick()
    expect(socket.calls).toBe(2)
    await socket.release()
    expect(socket.calls).toBe(2)
    expect(socket.frames.slice(1)).toEqual([1, 2, 3, 5])
    writer.binary(bytes(7, 10), true)
    await nextTick()
    await nextTick()
    expect(socket.calls).toBe(3)
  })

  it('tells when replies wait above the bound', async () => {
    const { writer, fulls } = writerOn(new StuckSocket(), 1_000)
    writer.text('x'.repeat(900))
    expect(fulls()).toBe(0)
    writer.text('x'.repeat(900))
    expect(fulls()).toBe(1)
  })

  it('settles what waits when it is closed, and sends nothing more', async () => {
    const socket = new StuckSocket()
    const { writer } = writerOn(socket)
    const deliveries = [1, 2, 3].map((mark) => writer.deliverBinary(bytes(mark, 100_000), none))
    writer.close()
    expect(await settled(Promise.all(deliveries))).toBe(true)
    writer.binary(bytes(4, 10))
    void writer.deliverBinary(bytes(5, 100_000), none)
    await socket.release()
    expect(socket.frames).toEqual([1])
  })
})

describe('a body that is lent', () => {
  const memory = new BatchMemory({
    allocate: (size) => new ArrayBuffer(size),
    freeBytesMax: 1 << 20,
    checked: true,
  })

  /** Bytes that nobody else holds: they are gone as soon as they are given back. */
  function lent(size: number): Uint8Array {
    const body = memory.take(size)
    keepBytes(body)?.giveBack()
    return body
  }

  it.each([100_000, 1_500])(
    'is given back when the socket has taken it, and not before (%i bytes)',
    async (size) => {
      const socket = new StuckSocket()
      const { writer } = writerOn(socket)
      void writer.deliverBinary(bytes(1, 32), lent(100_000).subarray(0, 70_000))
      const body = lent(100_000).subarray(0, size)
      void writer.deliverBinary(bytes(2, 32), body, true)
      const copied = size < 2_000
      expect(body.length).toBe(copied ? 0 : size)
      await socket.release()
      expect(socket.frames).toEqual([1])
      expect(body.length).toBe(copied ? 0 : size)
      await socket.release()
      expect(body.length).toBe(0)
    },
  )

  it('is given back by small deliveries too that flow', async () => {
    const socket = new StuckSocket()
    const { writer } = writerOn(socket)
    const body = lent(100_000).subarray(0, 10_000)
    expect(writer.deliverBinary(bytes(2, 32), body, true)).toBeUndefined()
    expect(body.length).toBe(10_000)
    await socket.release()
    expect(body.length).toBe(0)
  })

  it('stays as it is when it is lost with the connection, or waits when the writer is closed', async () => {
    const socket = new StuckSocket()
    socket.on('error', () => undefined)
    const { writer } = writerOn(socket)
    const [written, waiting] = [lent(100_000), lent(100_000)]
    const deliveries = [written, waiting].map((body) => writer.deliverBinary(bytes(2, 32), body, true))
    await turn()
    writer.close()
    expect(await settled(Promise.all(deliveries))).toBe(true)
    socket.destroy(new Error('reset'))
    await turn()
    expect([written.length, waiting.length]).toEqual([100_000, 100_000])
  })
})
