/**
 * One end of the connection between two workers: calls with answers, and news without. All that is said within a turn
 * crosses as one message, with the bytes of small batches in one buffer; a large one goes by itself, in a buffer of its own.
 *
 * Everything arrives in the order in which it was said. When the channel closes, calls without an answer fail with
 * RTK_UNAVAILABLE: what they were to do may be done or not.
 */
import { type ErrorCode, type ErrorDetails, RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import type { MaybePromise } from '../../ports/index.ts'
import { abortError } from '../calls.ts'
import { isPromise } from '../maybe-promise.ts'
import type { MeshChannel, MeshItem, MeshMessage } from './mesh-channel.ts'

/** What an operation of the mesh takes and gives, beside bytes. All of it must survive a structured clone. */
export interface MeshOperation {
  readonly takes: unknown
  readonly gives: unknown
}

/** An answer, and the bytes that belong to it. */
export interface MeshAnswer<T> {
  readonly value: T
  readonly bytes?: Uint8Array | undefined
}

type Serve<Operation extends MeshOperation> = (
  takes: Operation['takes'],
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
) => MaybePromise<MeshAnswer<Operation['gives']>>

/** What one end does for the other: a function for each operation that it serves. */
export type MeshService<Operations> = {
  readonly [Name in keyof Operations]?: Operations[Name] extends MeshOperation
    ? Serve<Operations[Name]>
    : never
}

/** Serves appends. Other results than a number go the way of ordinary answers. @param batch given away to it */
export type ServeAppend = (
  handle: number,
  recordCount: number,
  durability: number,
  batch: Uint8Array,
) => MaybePromise<unknown>

/** Told what became of an append. Exactly one of the three is called, once. */
export interface AppendWaiter extends Waiting {
  appended(offset: number): void
}

export interface MeshError {
  readonly code: ErrorCode
  readonly message: string
  readonly details: ErrorDetails
}

interface Waiting {
  resolve(answer: MeshAnswer<never>): void
  reject(error: RatatoskrError): void
}

const [call, answer, failure, news, cancel] = [0, 1, 2, 3, 4]
const noBytes = new Uint8Array(0)
/** Rows of numbers: kind, id, and of an append handle, records, level, start and length of the batch; of an answer the offset. */
const [appendRow, offsetRow] = [0, 1]
const rowNumbers = 7
/** Bytes that one message carries, about: one that is larger is sent before the turn ends. */
const messageBytesMax = 4 * 1024 * 1024
/** Bytes that go by themselves: to gather them with others would copy them once more, and who keeps them would keep the others. */
const aloneBytesMin = 64 * 1024

export class MeshLink<Operations> {
  readonly #channel: MeshChannel
  readonly #serveAppend: ServeAppend
  readonly #service: MeshService<Operations>
  readonly #waiting = new Map<number, Waiting | AppendWaiter>()
  /** Calls of the other end that may be cancelled. */
  readonly #running = new Map<number, AbortController>()
  #items: (MeshItem | number)[] = []
  #numbers = new Float64Array(64 * rowNumbers)
  #numberCount = 0
  /** Bytes of the items, of which the first `#sizeBytes` are taken. */
  #bytes = noBytes
  #sizeBytes = 0
  /** Bytes that go by themselves. */
  #alone: Uint8Array<ArrayBuffer> | undefined
  #nextId = 1
  #closed = false
  readonly #whenClosed: () => void

  /** @param whenClosed called once, after the calls that waited have failed */
  constructor(
    channel: MeshChannel,
    service: MeshService<Operations>,
    serveAppend: ServeAppend,
    whenClosed: () => void = () => {},
  ) {
    this.#channel = channel
    this.#serveAppend = serveAppend
    this.#service = service
    this.#whenClosed = whenClosed
    channel.open(
      (message) => this.#take(message),
      () => this.#end(),
    )
  }

  /**
   * Has the other end do something.
   * @param bytes copied before this returns
   * @param signal cancels it there
   * @throws what it threw there, or RTK_UNAVAILABLE when the channel closes before it answers
   */
  call<Name extends keyof Operations & string>(
    name: Name,
    takes: Operations[Name] extends MeshOperation ? Operations[Name]['takes'] : never,
    bytes?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<MeshAnswer<Operations[Name] extends MeshOperation ? Operations[Name]['gives'] : never>> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(linkClosed())
        return
      }
      const id = this.#nextId++
      let onAbort: (() => void) | undefined
      if (signal !== undefined) {
        onAbort = () => this.#say([cancel, id, reasonOf(signal)], undefined)
        signal.addEventListener('abort', onAbort, { once: true })
      }
      const done = (): void => {
        if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
      }
      this.#waiting.set(id, {
        resolve: (given) => {
          done()
          resolve(given)
        },
        reject: (error) => {
          done()
          reject(error)
        },
      })
      this.#say([call, id, name, takes, signal !== undefined], bytes)
      if (signal?.aborted) onAbort?.()
    })
  }

  /**
   * Appends a batch: as a row of numbers, for this is asked for a hundred thousand times a second.
   * @param handle stands for the partition; see `nameHandle` of the operations
   * @param durability number of the level
   * @param batch copied before this returns
   */
  append(
    handle: number,
    recordCount: number,
    durability: number,
    batch: Uint8Array,
    waiter: AppendWaiter,
  ): void {
    if (this.#closed) {
      waiter.reject(linkClosed())
      return
    }
    const id = this.#nextId++
    this.#waiting.set(id, waiter)
    const start = this.#copy(batch)
    this.#beginTurn()
    this.#row(appendRow, id, handle, recordCount, durability, start, batch.length)
    this.#countRow()
    this.#flushWhenFull()
  }

  /** Says something that needs no answer. It is lost when the channel closes. */
  tell<Name extends keyof Operations & string>(
    name: Name,
    takes: Operations[Name] extends MeshOperation ? Operations[Name]['takes'] : never,
  ): void {
    if (!this.#closed) this.#say([news, name, takes], undefined)
  }

  /** Closes both ends. */
  close(): void {
    this.#flush()
    this.#channel.close()
    this.#end()
  }

  #say(item: MeshItem, bytes: Uint8Array | undefined): void {
    const start = bytes === undefined ? 0 : this.#copy(bytes)
    this.#beginTurn()
    this.#items.push(bytes === undefined ? item : [...item, start, bytes.length])
    this.#flushWhenFull()
  }

  #beginTurn(): void {
    if (this.#items.length === 0) this.#channel.atTurnEnd(this.#flush)
  }

  /** Keeps the place of a row among what else is said. */
  #countRow(): void {
    const last = this.#items.length - 1
    const rows = this.#items[last]
    if (typeof rows === 'number') this.#items[last] = rows + 1
    else this.#items.push(1)
  }

  /** Adds a row of numbers. */
  #row(
    kind: number,
    id: number,
    third: number,
    fourth: number,
    fifth: number,
    sixth: number,
    seventh: number,
  ): void {
    let numbers = this.#numbers
    const at = this.#numberCount
    if (at === numbers.length) {
      numbers = new Float64Array(2 * at)
      numbers.set(this.#numbers)
      this.#numbers = numbers
    }
    numbers[at] = kind
    numbers[at + 1] = id
    numbers[at + 2] = third
    numbers[at + 3] = fourth
    numbers[at + 4] = fifth
    numbers[at + 5] = sixth
    numbers[at + 6] = seventh
    this.#numberCount = at + rowNumbers
  }

  /** Gathers bytes, before what refers to them is said. @returns where they begin in the message */
  #copy(bytes: Uint8Array): number {
    const start = this.#sizeBytes
    if (bytes.length >= aloneBytesMin) {
      this.#flush()
      this.#alone = new Uint8Array(bytes)
      return 0
    }
    const sizeBytes = this.#sizeBytes + bytes.length
    if (sizeBytes > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(sizeBytes, 2 * this.#bytes.length))
      larger.set(this.#bytes.subarray(0, this.#sizeBytes))
      this.#bytes = larger
    }
    this.#bytes.set(bytes, start)
    this.#sizeBytes = sizeBytes
    return start
  }

  #flushWhenFull(): void {
    if (this.#alone !== undefined || this.#sizeBytes >= messageBytesMax) this.#flush()
  }

  readonly #flush = (): void => {
    const items = this.#items
    if (items.length === 0 || this.#closed) return
    // What is gathered is copied into memory of its very size: the memory it is gathered in is used again and again.
    const gathered = this.#sizeBytes === 0 ? undefined : this.#bytes.slice(0, this.#sizeBytes)
    const bytes = (this.#alone ?? gathered)?.buffer
    this.#alone = undefined
    const numbers = this.#numberCount === 0 ? undefined : this.#numbers.slice(0, this.#numberCount)
    this.#items = []
    this.#numberCount = 0
    this.#sizeBytes = 0
    this.#channel.post({ items, numbers, bytes })
  }

  #take({ items, numbers, bytes }: MeshMessage): void {
    let row = 0
    for (const item of items) {
      if (this.#closed) return
      if (typeof item === 'number') {
        for (let left = item; left > 0; left--, row += rowNumbers) {
          this.#takeRow(numbers as Float64Array, row, bytes)
        }
        continue
      }
      const [kind, first] = item
      if (kind === call) this.#serve(item, bytes)
      else if (kind === answer) {
        const [, , value] = item
        const waiting = this.#settled(first as number)
        waiting?.resolve({ value: value as never, bytes: bytesOf(item, 3, bytes) })
      } else if (kind === failure) this.#settled(first as number)?.reject(errorOf(item[2] as MeshError))
      else if (kind === news) this.#hear(first as keyof Operations, item[2])
      else this.#running.get(first as number)?.abort(item[2])
    }
  }

  #takeRow(numbers: Float64Array, row: number, bytes: ArrayBuffer | undefined): void {
    const id = numbers[row + 1]
    if (numbers[row] === offsetRow) {
      const waiter = this.#settled(id) as AppendWaiter | undefined
      waiter?.appended(numbers[row + 2])
      return
    }
    const batch = new Uint8Array(bytes as ArrayBuffer, numbers[row + 5], numbers[row + 6])
    try {
      const given = this.#serveAppend(numbers[row + 2], numbers[row + 3], numbers[row + 4], batch)
      if (isPromise(given)) {
        given.then(
          (at) => this.#answerAppend(id, at),
          (error) => this.#fail(id, error),
        )
      } else this.#answerAppend(id, given)
    } catch (error) {
      this.#fail(id, error)
    }
  }

  #answerAppend(id: number, at: unknown): void {
    if (typeof at !== 'number') {
      this.#answer(id, { value: at })
      return
    }
    if (this.#closed) return
    this.#beginTurn()
    this.#row(offsetRow, id, at, 0, 0, 0, 0)
    this.#countRow()
  }

  /** Nobody waits for an answer: what fails is of no use to anyone. */
  #hear(name: keyof Operations, takes: unknown): void {
    try {
      const done = this.#run(name, takes, noBytes, undefined)
      if (isPromise(done)) done.then(undefined, () => {})
    } catch {}
  }

  #settled(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  #serve(item: MeshItem, bytes: ArrayBuffer | undefined): void {
    const [, id, name, takes, cancellable] = item as [number, number, keyof Operations, unknown, boolean]
    let signal: AbortSignal | undefined
    if (cancellable) {
      const controller = new AbortController()
      this.#running.set(id, controller)
      signal = controller.signal
    }
    try {
      const given = this.#run(name, takes, bytesOf(item, 5, bytes) ?? noBytes, signal)
      if (isPromise(given)) {
        given.then(
          (result) => this.#answer(id, result as MeshAnswer<unknown>),
          (error) => this.#fail(id, error),
        )
      } else this.#answer(id, given as MeshAnswer<unknown>)
    } catch (error) {
      this.#fail(id, error)
    }
  }

  #run(
    name: keyof Operations,
    takes: unknown,
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
  ): MaybePromise<MeshAnswer<unknown>> {
    const serve = this.#service[name] as Serve<MeshOperation> | undefined
    if (serve === undefined)
      throw new RatatoskrError('RTK_INTERNAL', `this worker does not serve ${String(name)}`)
    return serve(takes, bytes, signal)
  }

  #answer(id: number, { value, bytes }: MeshAnswer<unknown>): void {
    this.#running.delete(id)
    if (!this.#closed) this.#say([answer, id, value], bytes)
  }

  #fail(id: number, error: unknown): void {
    this.#running.delete(id)
    if (!this.#closed) this.#say([failure, id, errorToMesh(error)], undefined)
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const controller of this.#running.values()) controller.abort()
    this.#running.clear()
    for (const one of waiting) one.reject(linkClosed())
    this.#whenClosed()
  }
}

/** The bytes that an item refers to by where they begin and how many they are, from `place` of it on. */
function bytesOf(item: MeshItem, place: number, bytes: ArrayBuffer | undefined): Uint8Array | undefined {
  if (item.length <= place) return undefined
  return new Uint8Array(bytes ?? new ArrayBuffer(0), item[place] as number, item[place + 1] as number)
}

export function errorToMesh(error: unknown): MeshError {
  const { code, message, details } = toRatatoskrError(error)
  return { code, message, details }
}

export const errorOf = ({ code, message, details }: MeshError): RatatoskrError =>
  new RatatoskrError(code, message, { details })

/** Aborts of the other end have a reason of the same kind. */
const reasonOf = (signal: AbortSignal): { readonly name: string } => ({
  name: abortError(signal).code === 'RTK_TIMEOUT' ? 'TimeoutError' : 'AbortError',
})

export const linkClosed = (): RatatoskrError =>
  new RatatoskrError(
    'RTK_UNAVAILABLE',
    'the worker that this is the business of has ended and is being started again; what was asked for may be done or not, retry after a pause',
  )
