/** How the memory of this process, and its open descriptors, develop while it does the same over and over. */
import { readdir } from 'node:fs/promises'
import { slopeOf } from './slope.ts'

/** Slopes are in megabytes a minute, over the second half of the time. */
export interface MemoryTrend {
  readonly heapSlope: number
  readonly arrayBufferSlope: number
  readonly rssSlope: number
  /** Of the third quarter against the fourth. */
  readonly descriptorsGrown: number
  readonly rssMegabytes: number
}

interface Sample {
  readonly minutes: number
  readonly heap: number
  readonly arrayBuffers: number
  readonly rss: number
  readonly descriptors: number
}

const samplesPerRun = 40
const bytesPerMegabyte = 1e6

/** Samples over a time that is known beforehand. Run Node with `--expose-gc`, or garbage is counted as well. */
export class MemorySamples {
  readonly #runMs: number
  readonly #beginMs = performance.now()
  readonly #samples: Sample[] = []

  constructor(seconds: number) {
    this.#runMs = seconds * 1_000
  }

  /** False once the time is over. */
  get isRunning(): boolean {
    return this.#elapsedMs < this.#runMs
  }

  /** Takes a sample when it is time for one. */
  async sampleIfDue(): Promise<void> {
    if (this.#elapsedMs * samplesPerRun < this.#samples.length * this.#runMs) return
    globalThis.gc?.()
    const { heapUsed, arrayBuffers, rss } = process.memoryUsage()
    this.#samples.push({
      minutes: this.#elapsedMs / 60_000,
      heap: heapUsed / bytesPerMegabyte,
      arrayBuffers: arrayBuffers / bytesPerMegabyte,
      rss: rss / bytesPerMegabyte,
      descriptors: (await readdir('/proc/self/fd')).length,
    })
  }

  get trend(): MemoryTrend {
    const samples = this.#samples.slice(this.#samples.length >> 1)
    const half = samples.length >> 1
    // Some are open for a moment only: the least of each half says how many stay.
    const least = (some: readonly Sample[]) => Math.min(...some.map(({ descriptors }) => descriptors))
    const slope = (field: 'heap' | 'arrayBuffers' | 'rss') =>
      slopeOf(samples.map((one) => ({ at: one.minutes, value: one[field] })))
    return {
      heapSlope: slope('heap'),
      arrayBufferSlope: slope('arrayBuffers'),
      rssSlope: slope('rss'),
      descriptorsGrown: half === 0 ? 0 : least(samples.slice(half)) - least(samples.slice(0, half)),
      rssMegabytes: samples.at(-1)?.rss ?? 0,
    }
  }

  get #elapsedMs(): number {
    return performance.now() - this.#beginMs
  }
}
