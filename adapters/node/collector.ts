/**
 * How often V8 collects garbage in a process that moves many bytes and has few objects, and how much memory it takes to start.
 *
 * V8 begins a collection whenever some tens of megabytes of buffers were allocated, however many it holds: a broker that keeps
 * 256 MiB of batches and takes in 300 MiB a second would mark its whole heap ten times a second, on cores that its clients
 * could use. Counted with the heap, buffers may grow by a share of what there is before the next collection.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Has V8 pace its collections by the share by which buffers grow. Call it before there is much in memory; process-wide. */
export function paceCollector(): void {
  setFlag('--external-memory-accounted-in-global-limit')
}

/**
 * Has V8 keep its heap small until this is disposed of; process-wide. A program that loads has many objects that live for a
 * moment: V8 takes 32 MB for their like, and an idle process gives none of it back. Afterwards the heap grows with the load.
 */
export function keepHeapSmall(): Disposable {
  setFlag('--memory-saver-mode')
  return { [Symbol.dispose]: () => setFlag('--no-memory-saver-mode') }
}

/** Of its time, what a process works that has much to do. */
const busyShare = 0.1
const lookIntervalMs = 1_000

/**
 * Keeps the heap small while the event loop of this thread has next to nothing to do: the collections of a quiet time then give
 * back what a busy one took. For a process whose only busy thread this is; process-wide.
 */
export function keepHeapSmallWhileIdle(): Disposable {
  let small: Disposable | undefined = keepHeapSmall()
  let seen = performance.eventLoopUtilization()
  const look = (): void => {
    const now = performance.eventLoopUtilization()
    const busy = performance.eventLoopUtilization(now, seen).utilization > busyShare
    seen = now
    if (busy) {
      small?.[Symbol.dispose]()
      small = undefined
    } else small ??= keepHeapSmall()
  }
  const timer = setInterval(look, lookIntervalMs).unref()
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer)
      small?.[Symbol.dispose]()
    },
  }
}

/** Of a moment, what a process works that has nothing to do. */
const idleShare = 0.02
const idleMomentMs = 250
const idleMomentsMax = 40

/**
 * Collects once what starting has left in the heap of this thread, in the first moment in which there is nothing to do: it takes
 * some 30 ms. A process that is idle from then on would keep it, for nothing makes V8 collect. One that has work all the time
 * collects by itself, and is soon left alone.
 */
export function collectOnceIdle(): Disposable {
  let seen = performance.eventLoopUtilization()
  let moments = 0
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const isIdle = performance.eventLoopUtilization(now, seen).utilization < idleShare
    seen = now
    if (isIdle || ++moments === idleMomentsMax) clearInterval(timer)
    if (isIdle) collectAll()
  }, idleMomentMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Collects all that can be, and gives the room for young objects back as well, which no usual collection does. */
function collectAll(): void {
  setFlag('--expose-gc')
  const collect: unknown = runInNewContext('globalThis.gc')
  setFlag('--no-expose-gc')
  if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}

/** Another generation of V8 may not know a flag, and would say so on standard error. */
function setFlag(flag: string): void {
  if (process.versions.v8.startsWith('14.')) setFlagsFromString(flag)
}
