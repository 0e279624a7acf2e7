/** Faults on command: which call goes wrong, when, how often, and how. */
import type { Draw } from '../seeded-draw.ts'

/** What a disk can be asked for. */
export type DiskCall =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'size'
  | 'close'
  | 'makeDirectory'
  | 'list'
  | 'sizeOf'
  | 'remove'
  | 'removeTree'
  | 'rename'
  | 'syncDirectory'
  | 'lock'

/**
 * What happens instead of the call.
 * `short`: a write takes only a part, of at least one byte, and says so. `lost`: a write reports success and never reaches
 * the medium. `misdirected`: a write reports success and lands in another place of the same file. `lie`: a sync, of a file
 * or of a directory, reports success and does nothing; no store on one disk survives a power cut then.
 */
export type FaultEffect = 'short' | 'lost' | 'misdirected' | 'lie'

/** Which calls a fault or a hold is for. */
export interface CallFilter {
  /** One call, several, or any. */
  readonly call?: DiskCall | readonly DiskCall[] | undefined
  /** Only paths that end so, or that match. A descriptor keeps the path that it was opened with. */
  readonly path?: string | RegExp | undefined
}

/** A fault: an error with the system's `code`, such as EIO, or an `effect`. */
export interface DiskFault extends CallFilter {
  readonly code?: string | undefined
  readonly effect?: FaultEffect | undefined
  /** The first of the matching calls that goes wrong; 1, the next one, by default. */
  readonly nth?: number | undefined
  /** How many go wrong from there on; all by default. */
  readonly times?: number | undefined
  /** How likely each of them does, by the disk's seed; 1 by default. */
  readonly probability?: number | undefined
  /**
   * What becomes of unsynced pages when a sync fails: `dropped` as on Linux, where the next sync of the file reports success
   * without them; `kept`, so that the next one tries again. `dropped` by default.
   */
  readonly dirtyPages?: 'dropped' | 'kept' | undefined
}

/** True when a call is one of those that are meant. */
export function matches({ call, path }: CallFilter, made: DiskCall, madeAt: string): boolean {
  if (call !== undefined && !(typeof call === 'string' ? call === made : call.includes(made))) return false
  return path === undefined || (typeof path === 'string' ? madeAt.endsWith(path) : path.test(madeAt))
}

interface ArmedFault {
  readonly fault: DiskFault
  toSkip: number
  left: number
}

/** The faults of one disk. */
export class Faults {
  #armed: ArmedFault[] = []

  /** @throws TypeError for a fault that does nothing, or something that its call cannot do */
  inject(fault: DiskFault): void {
    const { code, effect, nth = 1, times = Number.POSITIVE_INFINITY } = fault
    if ((code === undefined) === (effect === undefined)) {
      throw new TypeError('a fault has a code, such as EIO, or an effect: give one of them')
    }
    this.#armed.push({ fault, toSkip: nth - 1, left: times })
  }

  heal(): void {
    this.#armed = []
  }

  /** The fault that this call meets. */
  of(call: DiskCall, path: string, draw: Draw): DiskFault | undefined {
    for (const armed of this.#armed) {
      const { fault } = armed
      if (armed.left === 0 || !matches(fault, call, path) || !suits(fault.effect, call)) continue
      if (armed.toSkip > 0) {
        armed.toSkip--
        continue
      }
      if (fault.probability !== undefined && draw() >= fault.probability) continue
      armed.left--
      return fault
    }
    return undefined
  }
}

const suits = (effect: FaultEffect | undefined, call: DiskCall): boolean =>
  effect === undefined || (effect === 'lie' ? call === 'sync' || call === 'syncDirectory' : call === 'write')

/** An error as the system gives it. */
export const systemError = (code: string, call: DiskCall): Error =>
  Object.assign(new Error(`${code}: simulated, ${call}`), { code, syscall: call })
