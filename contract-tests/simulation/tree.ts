/**
 * The tree of a simulated disk: names, nodes and which of them are durable. Two trees may share nodes; each copies a node
 * before it changes it, so that a copy of a whole disk costs a map.
 *
 * What a power cut does to names follows what journaling file systems do: the changes of one directory survive in their
 * order, up to some point, each directory by itself; a rename from one directory to another happens in both or in none.
 */

import type { Draw } from '../seeded-draw.ts'
import { type DiskCall, systemError } from './faults.ts'
import { FileImage } from './file-image.ts'
import { memoized } from './memo.ts'
import { DirectoryNode, type DiskNode, FileNode, type Survival } from './nodes.ts'

const rootId = 1

const namesOf = memoized((path): readonly string[] =>
  path.split('/').filter((name) => name !== '' && name !== '.'),
)

/** How much of a change that is not durable survives a power cut. */
export interface CutRules {
  readonly draw: Draw
  readonly sectorBytes: number
  /** For every file; drawn for each when it is not given. */
  readonly survival: Survival | undefined
}

/** Where a name is: the directory, and what the name leads to if there is anything. */
interface Found {
  readonly directoryId: number
  readonly name: string
  readonly id: number | undefined
}

export class DiskTree {
  readonly pageBytes: number
  readonly #nodes: Map<number, DiskNode>
  #owner: object = {}
  #lastId: number
  #sequence = 0

  constructor(pageBytes: number, nodes?: Map<number, DiskNode>, lastId = rootId) {
    this.pageBytes = pageBytes
    this.#nodes = nodes ?? new Map([[rootId, new DirectoryNode(this.#owner)]])
    this.#lastId = lastId
  }

  /** The same tree for another disk. */
  fork(): DiskTree {
    // Neither of the two owns what both see.
    this.#owner = {}
    const copy = new DiskTree(this.pageBytes, new Map(this.#nodes), this.#lastId)
    copy.#sequence = this.#sequence
    return copy
  }

  /** The tree that is there when the power is back. */
  afterPowerCut(rules: CutRules): DiskTree {
    const cut = this.fork()
    cut.#cutDirectories(rules)
    const reached = new Map<number, DiskNode>()
    cut.#reach(rootId, reached)
    for (const [id, node] of reached) {
      if (node.kind === 'file') {
        reached.set(id, node.afterPowerCut(cut.#owner, rules.survival, rules.draw, rules.sectorBytes))
      }
    }
    return new DiskTree(this.pageBytes, reached, this.#lastId)
  }

  file(id: number, call: DiskCall): FileNode {
    const node = this.#nodes.get(id)
    if (node === undefined) throw systemError('EBADF', call)
    if (node.kind === 'directory') throw systemError('EISDIR', call)
    return node
  }

  /** A file that may be changed. */
  ownFile(id: number, call: DiskCall): FileNode {
    const node = this.file(id, call)
    if (node.owner === this.#owner) return node
    const copy = node.copy(this.#owner)
    this.#nodes.set(id, copy)
    return copy
  }

  /** Where a path leads. @throws ENOENT or ENOTDIR when its directory is none */
  find(path: string, call: DiskCall): Found {
    const names = namesOf(path)
    const name = names[names.length - 1]
    if (name === undefined) return { directoryId: rootId, name: '', id: rootId }
    let directoryId = rootId
    for (let depth = 0; depth < names.length - 1; depth++) {
      const next = this.#directory(directoryId, call).entries.get(names[depth])
      if (next === undefined) throw systemError('ENOENT', call)
      directoryId = next
    }
    return { directoryId, name, id: this.#directory(directoryId, call).entries.get(name) }
  }

  /** The node at a path; undefined when there is none. */
  lookUp(path: string): { readonly id: number; readonly node: DiskNode } | undefined {
    let id: number | undefined = rootId
    for (const part of namesOf(path)) {
      const node: DiskNode | undefined = this.#nodes.get(id)
      id = node?.kind === 'directory' ? node.entries.get(part) : undefined
      if (id === undefined) return undefined
    }
    return { id, node: this.#nodes.get(id) as DiskNode }
  }

  addFile({ directoryId, name }: Found): number {
    const image = new FileImage(this.pageBytes)
    return this.#add(directoryId, name, new FileNode(this.#owner, image, image.copy()))
  }

  makeDirectory(path: string, call: DiskCall): void {
    let id = rootId
    for (const part of namesOf(path)) {
      id = this.#directory(id, call).entries.get(part) ?? this.#add(id, part, new DirectoryNode(this.#owner))
    }
    this.#directory(id, call)
  }

  /** Takes a name out of its directory. */
  unlink({ directoryId, name }: Found): void {
    const names = [[name, undefined]] as const
    this.#ownDirectory(directoryId).change({ sequence: ++this.#sequence, names, other: undefined })
  }

  rename(from: Found, to: Found): void {
    const sequence = ++this.#sequence
    if (from.directoryId === to.directoryId) {
      const names = [[from.name, undefined] as const, [to.name, from.id] as const]
      this.#ownDirectory(from.directoryId).change({ sequence, names, other: undefined })
      return
    }
    const gone = [[from.name, undefined]] as const
    const came = [[to.name, from.id]] as const
    this.#ownDirectory(from.directoryId).change({ sequence, names: gone, other: to.directoryId })
    this.#ownDirectory(to.directoryId).change({ sequence, names: came, other: from.directoryId })
  }

  syncDirectory(id: number, call: DiskCall): void {
    this.#directory(id, call)
    this.#settle(id, Number.POSITIVE_INFINITY)
  }

  /** Size of a file as programs see it; 0 for what is none. */
  bytesOf(id: number): number {
    const node = this.#nodes.get(id)
    return node?.kind === 'file' ? node.cache.sizeBytes : 0
  }

  /** Clean pages of every file leave the memory. */
  evict(): void {
    for (const [id, node] of this.#nodes) if (node.kind === 'file') this.ownFile(id, 'read').evict()
  }

  /** Paths of all files, in no order. */
  *paths(id = rootId, prefix = ''): Generator<string, void, undefined> {
    const node = this.#nodes.get(id)
    if (node === undefined) return
    if (node.kind === 'file') yield prefix
    else for (const [name, child] of node.entries) yield* this.paths(child, `${prefix}/${name}`)
  }

  #add(directoryId: number, name: string, node: DiskNode): number {
    const id = ++this.#lastId
    this.#nodes.set(id, node)
    const names = [[name, id]] as const
    this.#ownDirectory(directoryId).change({ sequence: ++this.#sequence, names, other: undefined })
    return id
  }

  #directory(id: number, call: DiskCall): DirectoryNode {
    const node = this.#nodes.get(id)
    if (node?.kind !== 'directory') throw systemError('ENOTDIR', call)
    return node
  }

  #ownDirectory(id: number): DirectoryNode {
    const node = this.#directory(id, 'open')
    if (node.owner === this.#owner) return node
    const copy = node.copy(this.#owner)
    this.#nodes.set(id, copy)
    return copy
  }

  /** Makes the changes of a directory durable up to one, and with a rename what came before it in the other directory. */
  #settle(id: number, until: number): void {
    const node = this.#nodes.get(id)
    if (node?.kind !== 'directory' || node.changes.length === 0) return
    const directory = this.#ownDirectory(id)
    while (directory.changes.length > 0 && directory.changes[0].sequence <= until) {
      const done = directory.settleFirst()
      if (done?.other !== undefined) this.#settle(done.other, done.sequence)
    }
  }

  #cutDirectories({ survival, draw }: CutRules): void {
    for (const [id, node] of this.#nodes) {
      if (node.kind !== 'directory' || node.changes.length === 0) continue
      if (survival === 'nothing') continue
      const { changes } = node
      const count = survival === 'everything' ? changes.length : Math.floor(draw() * (changes.length + 1))
      if (count > 0) this.#settle(id, changes[count - 1].sequence)
    }
    for (const [id, node] of this.#nodes) {
      if (node.kind !== 'directory' || node.changes.length === 0) continue
      const { durable } = node
      this.#nodes.set(id, new DirectoryNode(this.#owner, new Map(durable), new Map(durable)))
    }
  }

  #reach(id: number, reached: Map<number, DiskNode>): void {
    const node = this.#nodes.get(id)
    if (node === undefined || reached.has(id)) return
    reached.set(id, node)
    if (node.kind === 'directory') for (const child of node.entries.values()) this.#reach(child, reached)
  }
}
