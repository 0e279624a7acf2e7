/**
 * Which objects a process has more of than before: two of V8's heap snapshots, counted by the names of constructors. What a slope
 * of the whole heap only shows as noise has a name here.
 */
import { readFile } from 'node:fs/promises'

/** What there is of one kind. */
interface Kind {
  readonly count: number
  readonly bytes: number
}

export type Kinds = ReadonlyMap<string, Kind>

/** How much more there is of one kind. */
export interface Growth extends Kind {
  readonly name: string
}

interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[]
      /** The first is that of the types, by their numbers. */
      readonly node_types: readonly (readonly string[])[]
    }
  }
  readonly nodes: readonly number[]
  readonly strings: readonly string[]
}

/** Objects and closures have constructors and names; of the other kinds, names are what they hold. */
const named: ReadonlySet<string> = new Set(['object', 'closure', 'native'])
/** What V8 makes of the program as it runs, and never of what passes through it. */
const ofProgram: ReadonlySet<string> = new Set(['code', 'hidden', 'object shape', 'synthetic'])

/** Caches and logs in memory have bounds in bytes, and fill them: what buffers hold is no object. */
const bufferData = 'native system / JSArrayBufferData'

/** Counts what a snapshot holds, without what the program itself is, and the bytes of buffers. @param file as `v8.writeHeapSnapshot` makes it */
export async function kindsOf(file: string): Promise<Kinds> {
  const { snapshot, nodes, strings } = JSON.parse(await readFile(file, 'utf8')) as Snapshot
  const { node_fields: fields, node_types: types } = snapshot.meta
  const [type, name, size] = ['type', 'name', 'self_size'].map((field) => fields.indexOf(field))
  const kinds = new Map<string, { count: number; bytes: number }>()
  for (let at = 0; at < nodes.length; at += fields.length) {
    const typeName = types[0][nodes[at + type]]
    if (ofProgram.has(typeName)) continue
    const key = named.has(typeName) ? `${typeName} ${strings[nodes[at + name]].slice(0, 80)}` : typeName
    if (key === bufferData) continue
    const kind = kinds.get(key) ?? { count: 0, bytes: 0 }
    kind.count++
    kind.bytes += nodes[at + size]
    kinds.set(key, kind)
  }
  return kinds
}

/** What there is more of, by bytes. @param countMin fewer more objects of a kind are no growth */
export function growthOf(before: Kinds, after: Kinds, countMin: number): readonly Growth[] {
  return Array.from(after, ([name, { count, bytes }]) => {
    const known = before.get(name) ?? { count: 0, bytes: 0 }
    return { name, count: count - known.count, bytes: bytes - known.bytes }
  })
    .filter(({ count, bytes }) => count >= countMin && bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
}

/** Bytes of all kinds. */
export const bytesOf = (kinds: Kinds): number =>
  [...kinds.values()].reduce((sum, { bytes }) => sum + bytes, 0)
