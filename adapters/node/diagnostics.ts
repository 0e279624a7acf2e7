/** What Node tells about its process: memory, processor time, how late the event loop is, and profiles by V8's own profilers. */
import { type ELDHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import {
  type Diagnostics,
  type ProcessLoad,
  type ProfileKind,
  RatatoskrError,
  type RunningProfile,
  utf8,
} from 'ratatoskr/ports'

const resolutionMs = 10
/** Nobody asked for so long: nothing is measured any more, so that an idle process sleeps. */
const forgetAfterMs = 30_000

class NodeDiagnostics implements Diagnostics {
  #delays: ELDHistogram | undefined
  #forget: NodeJS.Timeout | undefined

  load(): ProcessLoad {
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
    const { user, system } = process.cpuUsage()
    return {
      residentBytes: rss,
      heapBytes: heapUsed,
      bufferBytes: arrayBuffers,
      cpuMs: Math.round((user + system) / 1_000),
      loopDelayMs: this.#loopDelayMs(),
    }
  }

  async startProfile(kind: ProfileKind): Promise<RunningProfile> {
    const { Session } = await inspector()
    const session = new Session()
    session.connect()
    try {
      if (kind === 'cpu') {
        await session.post('Profiler.enable')
        await session.post('Profiler.start')
      } else await session.post('HeapProfiler.startSampling')
    } catch (error) {
      session.disconnect()
      throw error
    }
    return {
      async stop() {
        try {
          const { profile } =
            kind === 'cpu'
              ? await session.post('Profiler.stop')
              : await session.post('HeapProfiler.stopSampling')
          return utf8(JSON.stringify(profile))
        } finally {
          session.disconnect()
        }
      },
    }
  }

  #loopDelayMs(): number {
    this.#forget?.refresh()
    if (this.#delays === undefined) {
      this.#delays = monitorEventLoopDelay({ resolution: resolutionMs })
      this.#delays.enable()
      this.#forget = setTimeout(() => this.#stop(), forgetAfterMs).unref()
      return 0
    }
    // What it holds is the time from one look to the next.
    const latestMs = this.#delays.count === 0 ? 0 : this.#delays.max / 1e6 - resolutionMs
    this.#delays.reset()
    return Math.max(0, Math.round(latestMs * 10) / 10)
  }

  #stop(): void {
    this.#delays?.disable()
    this.#delays = undefined
    this.#forget = undefined
  }
}

/** @throws RTK_NOT_SUPPORTED when this Node was built without it */
async function inspector(): Promise<typeof import('node:inspector/promises')> {
  try {
    return await import('node:inspector/promises')
  } catch (error) {
    throw new RatatoskrError('RTK_NOT_SUPPORTED', 'this Node has no inspector, and so no profiler', {
      cause: error,
    })
  }
}

/** The diagnostics of this thread. */
export const nodeDiagnostics: Diagnostics = new NodeDiagnostics()
