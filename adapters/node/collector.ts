/**
 * How often V8 collects garbage in a process that moves many bytes and has few objects.
 *
 * V8 begins a collection whenever some tens of megabytes of buffers were allocated, however many it holds: a broker that keeps
 * 256 MiB of batches and takes in 300 MiB a second would mark its whole heap ten times a second, on cores that its clients
 * could use. Counted with the heap, buffers may grow by a share of what there is before the next collection.
 */
import { setFlagsFromString } from 'node:v8'

/** Has V8 pace its collections by the share by which buffers grow. Call it before there is much in memory; process-wide. */
export function paceCollector(): void {
  // Another generation of V8 may know the flag no more, and would say so on standard error.
  if (process.versions.v8.startsWith('14.')) setFlagsFromString('--external-memory-accounted-in-global-limit')
}
