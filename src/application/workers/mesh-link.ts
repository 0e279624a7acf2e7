/**
 * One end of the connection between two workers: calls with answers, and news without. What is said within a turn crosses
 * together; see mesh-outbox.ts.
 *
 * Everything arrives in the order in which it was said. When the channel closes, calls without an answer fail with
 * RTK_UNAVAILABLE: what they were to do may be done or not.
 */
import { RatatoskrError } from '../../domain/errors.ts'
import type { MaybePromise } from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { MeshChannel, MeshItem, MeshMessage } from './mesh-channel.ts'
import { errorOf, errorToMesh, linkClosed, type MeshError, reasonOf } from './mesh-errors.ts'
import { MeshOutbox, offsetRow, rowNumbers } from './mesh-outbox.ts'

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

interface Waiting {
  resolve(answer: MeshAnswer<never>): void
  reject(error: RatatoskrError): void
}

const [call, answer, failure, news, cancel] = [0, 1, 2, 3, 4]
const noBytes = new Uint8Array(0)

export class MeshLink<Operations> {
  readonly #channel: MeshChannel
  readonly #outbox: MeshOutbox
  readonly #serveAppend: ServeAppend
  readonly #service: MeshService<Operations>
  readonly #waiting = new Map<number, Waiting | AppendWaiter>()
  /** Calls of the other end that may be cancelled. */
  readonly #running = new Map<number, AbortController>()
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
    this.#outbox = new MeshOutbox(channel)
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
        onAbort = () => this.#outbox.say([cancel, id, reasonOf(signal)], undefined)
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
      this.#outbox.say([call, id, name, takes, signal !== undefined], bytes)
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
    this.#outbox.append(id, handle, recordCount, durability, batch)
  }

  /** Says something that needs no answer. It is lost when the channel closes. */
  tell<Name extends keyof Operations & string>(
    name: Name,
    takes: Operations[Name] extends MeshOperation ? Operations[Name]['takes'] : never,
  ): void {
    if (!this.#closed) this.#outbox.say([news, name, takes], undefined)
  }

  /** Closes both ends. */
  close(): void {
    this.#outbox.flush()
    this.#channel.close()
    this.#end()
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
    if (!this.#closed) this.#outbox.appended(id, at)
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
    if (!this.#closed) this.#outbox.say([answer, id, value], bytes)
  }

  #fail(id: number, error: unknown): void {
    this.#running.delete(id)
    if (!this.#closed) this.#outbox.say([failure, id, errorToMesh(error)], undefined)
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    this.#outbox.close()
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
