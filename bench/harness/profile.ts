/** What a CPU profile of V8 says: where the time went, by function. */

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  /** Microseconds from each sample to the one before. */
  readonly timeDeltas: readonly number[]
}

export interface HotFunction {
  readonly name: string
  readonly place: string
  /** Of the time in which the process did something. */
  readonly percent: number
}

/** The functions that the most time was spent in themselves, not in what they called. */
export function hottest({ nodes, samples, timeDeltas }: CpuProfile, count: number): readonly HotFunction[] {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const spent = new Map<string, { readonly name: string; readonly place: string; time: number }>()
  let busy = 0
  for (const [index, id] of samples.entries()) {
    const frame = byId.get(id)?.callFrame
    if (frame === undefined || frame.functionName === '(idle)') continue
    const time = timeDeltas[index]
    busy += time
    const place = frame.url === '' ? '' : `${shortened(frame.url)}:${frame.lineNumber + 1}`
    const key = `${frame.functionName} ${place}`
    const entry = spent.get(key) ?? { name: frame.functionName || '(anonymous)', place, time: 0 }
    entry.time += time
    spent.set(key, entry)
  }
  return Array.from(spent.values())
    .toSorted((a, b) => b.time - a.time)
    .slice(0, count)
    .map(({ name, place, time }) => ({ name, place, percent: Number(((100 * time) / busy).toFixed(1)) }))
}

/** The last folders tell which file it is. */
const shortened = (url: string): string => url.split('/').slice(-3).join('/')
