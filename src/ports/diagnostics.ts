/**
 * What a process tells about itself: how much it uses, and where its time and its memory go. The platform has it where the
 * runtime can tell; a browser cannot.
 */

/** What the broker's process uses, at the time of asking. */
export interface ProcessLoad {
  /** Memory that the system gave the process, in bytes. */
  readonly residentBytes: number
  /** Objects on the heap of the event loop that answers, in bytes. */
  readonly heapBytes: number
  /** Buffers that belong to that heap's objects, in bytes. */
  readonly bufferBytes: number
  /** Processor time of all threads since the process began, in milliseconds. */
  readonly cpuMs: number
  /**
   * The latest that a turn of the event loop that answers has come since it was asked before, in milliseconds; 0 at first. It is
   * measured from the first question on, until nobody has asked for half a minute.
   */
  readonly loopDelayMs: number
}

/**
 * `cpu`: which functions the event loop spent its time in (a `.cpuprofile`). `heap`: which functions made the objects that were
 * made meanwhile and are still there (a `.heapprofile`). Both are samples that name functions and their files, and hold nothing of
 * any message.
 */
export type ProfileKind = 'cpu' | 'heap'

/** A profile to take, and for how long. */
export interface ProfileRequest {
  readonly kind: ProfileKind
  /** From 1 to 60,000. */
  readonly durationMs: number
}

/** A profile that is being taken. */
export interface RunningProfile {
  /** Ends it. @returns the profile as JSON, in the form that Chrome's developer tools open */
  stop(): Promise<Uint8Array>
}

/** What a platform tells about the process. */
export interface Diagnostics {
  load(): ProcessLoad
  /** Begins a profile of this event loop; one at a time. @throws RTK_NOT_SUPPORTED when the runtime has no profiler */
  startProfile(kind: ProfileKind): Promise<RunningProfile>
}
