/**
 * Files and directories of a simulated disk, each as the programs see it and as the medium has it, and what a power cut may
 * make of the difference.
 */
import type { Draw } from '../seeded-draw.ts'
import { FileImage, type Page } from './file-image.ts'

/** What a page held after the operation of this number since the last sync. */
interface PageVersion {
  readonly operation: number
  readonly page: Page
}

// A page that is written again and again without a sync is kept in its latest versions only.
const versionsMax = 32

/** Which of the unsynced versions of a file reach the medium. */
export type Survival = 'nothing' | 'everything' | 'prefix' | 'pages' | 'sectors' | 'size' | 'data'

const survivals: readonly Survival[] = ['nothing', 'everything', 'prefix', 'pages', 'sectors', 'size', 'data']

export class FileNode {
  readonly kind = 'file'
  /** Whose node this is; another disk that shares it must copy it before it changes it. */
  owner: object
  cache: FileImage
  medium: FileImage
  /** Sizes since the last sync, by number of operation; the first is the medium's. */
  #sizes: number[]
  #dirty: Map<number, PageVersion[]>
  /**
   * Places whose block was new when a sync failed: it stays marked as never written, whatever is written there and synced
   * later, and reads as zeros when the power is back.
   */
  #unwritten: Set<number>

  constructor(
    owner: object,
    cache: FileImage,
    medium: FileImage,
    sizes = [0],
    dirty = new Map(),
    unwritten = new Set<number>(),
  ) {
    this.owner = owner
    this.cache = cache
    this.medium = medium
    this.#sizes = sizes
    this.#dirty = dirty
    this.#unwritten = unwritten
  }

  copy(owner: object): FileNode {
    const dirty = new Map<number, PageVersion[]>()
    for (const [place, versions] of this.#dirty) dirty.set(place, versions.slice())
    const unwritten = new Set(this.#unwritten)
    return new FileNode(owner, this.cache.copy(), this.medium.copy(), this.#sizes.slice(), dirty, unwritten)
  }

  write(bytes: Uint8Array, position: number): void {
    this.#note(this.cache.write(bytes, position))
  }

  /** Blocks that are cut off are given back: what is written there later has others. */
  resize(sizeBytes: number): void {
    const kept = Math.ceil(sizeBytes / this.cache.pageBytes)
    for (const place of this.#unwritten) if (place >= kept) this.#unwritten.delete(place)
    this.#note(this.cache.resize(sizeBytes))
  }

  /** A write that the programs see and the medium never gets, unless the same pages are written again. */
  writeLost(bytes: Uint8Array, position: number): void {
    const { sizeBytes } = this.cache
    this.cache.write(bytes, position)
    if (this.cache.sizeBytes !== sizeBytes) this.#note([0, 0])
  }

  /** Bytes that come onto the medium, and into the cache, by no call of a program. */
  damage(bytes: Uint8Array, position: number): void {
    for (const image of [this.cache, this.medium]) {
      const count = Math.min(bytes.length, image.sizeBytes - position)
      if (count > 0) image.write(bytes.subarray(0, count), position)
    }
  }

  /** Everything that was written is on the medium. */
  sync(): void {
    for (const place of this.#dirty.keys()) {
      if (!this.#unwritten.has(place)) this.medium.pages[place] = this.cache.pages[place]
    }
    this.medium.resize(this.cache.sizeBytes)
    this.#clean()
  }

  /**
   * What a failed sync does on Linux: the pages count as clean though only some of them reached the medium, and the next sync
   * reports success. The size still gets there with it. As on ext4, a new block whose write failed is lost for good, even
   * when it is written again in place; one that was on the medium before is not.
   */
  syncFailed(draw: Draw, sectorBytes: number): void {
    for (const place of this.#dirty.keys()) {
      const isNew = this.medium.pages[place] === undefined && this.cache.pages[place] !== undefined
      if (isNew && draw() < 0.5) this.#unwritten.add(place)
    }
    this.medium = this.#outcome('sectors', draw, sectorBytes)
    this.#clean()
    if (this.cache.sizeBytes !== this.medium.sizeBytes) this.#sizes.push(this.cache.sizeBytes)
  }

  /** Clean pages leave the memory: programs see what the medium has of them. */
  evict(): void {
    const pages = this.medium.pages.slice()
    for (const place of this.#dirty.keys()) pages[place] = this.cache.pages[place]
    // Read again, a block is known to be unwritten, and the next write of it counts.
    for (const place of this.#unwritten) if (!this.#dirty.has(place)) this.#unwritten.delete(place)
    const { sizeBytes } = this.cache
    this.cache = new FileImage(this.cache.pageBytes, pages, sizeBytes)
    this.cache.resize(sizeBytes)
  }

  /** True when a power cut cannot change what programs see. */
  get isDurable(): boolean {
    if (this.#sizes.length > 1 || this.#dirty.size > 0) return false
    if (this.cache.sizeBytes !== this.medium.sizeBytes) return false
    return this.cache.pages.every((page, place) => page === this.medium.pages[place])
  }

  /** What is there when the power is back. */
  afterPowerCut(owner: object, how: Survival | undefined, draw: Draw, sectorBytes: number): FileNode {
    if (this.isDurable) return this
    const chosen = how ?? survivals[Math.floor(draw() * survivals.length)]
    const image = this.#outcome(chosen, draw, sectorBytes)
    return new FileNode(owner, image, image.copy(), [image.sizeBytes])
  }

  #note([from, to]: readonly [number, number]): void {
    const operation = this.#sizes.length
    this.#sizes.push(this.cache.sizeBytes)
    for (let place = from; place < to; place++) {
      const version = { operation, page: this.cache.pages[place] }
      const versions = this.#dirty.get(place)
      if (versions === undefined) this.#dirty.set(place, [version])
      else {
        versions.push(version)
        if (versions.length > versionsMax) versions.shift()
      }
    }
  }

  #clean(): void {
    this.#dirty = new Map()
    this.#sizes = [this.medium.sizeBytes]
  }

  /** The medium's image when some of the unsynced operations reached it. */
  #outcome(how: Survival, draw: Draw, sectorBytes: number): FileImage {
    const image = this.medium.copy()
    const operations = this.#sizes.length - 1
    const until = how === 'prefix' ? Math.floor(draw() * (operations + 1)) : operations
    for (const [place, versions] of this.#dirty) {
      if (this.#unwritten.has(place)) continue
      image.pages[place] = this.#pageOf(how, versions, image.pages[place], until, draw, sectorBytes)
    }
    const sizeBytes =
      how === 'nothing' || how === 'data'
        ? this.#sizes[0]
        : how === 'pages' || how === 'sectors'
          ? this.#sizes[Math.floor(draw() * this.#sizes.length)]
          : this.#sizes[until]
    image.resize(sizeBytes)
    return image
  }

  #pageOf(
    how: Survival,
    versions: readonly PageVersion[],
    medium: Page,
    until: number,
    draw: Draw,
    sectorBytes: number,
  ): Page {
    const pick = (): Page => {
      const place = Math.floor(draw() * (versions.length + 1))
      return place === 0 ? medium : versions[place - 1].page
    }
    switch (how) {
      case 'nothing':
      case 'size':
        return medium
      case 'everything':
      case 'data':
        return versions[versions.length - 1].page
      case 'prefix': {
        const before = versions.findLast(({ operation }) => operation < until)?.page
        const last = versions.findLast(({ operation }) => operation === until)?.page
        // The last operation of a prefix is torn: some of its sectors are there.
        if (last === undefined) return before ?? medium
        return this.#mixed(sectorBytes, () => (draw() < 0.5 ? last : (before ?? medium)))
      }
      case 'pages':
        return pick()
      case 'sectors':
        return this.#mixed(sectorBytes, pick)
    }
  }

  /** A page each of whose sectors comes from the version that is picked for it. */
  #mixed(sectorBytes: number, pick: () => Page): Page {
    const { pageBytes } = this.cache
    const page = new Uint8Array(pageBytes)
    for (let at = 0; at < pageBytes; at += sectorBytes) {
      const from = pick()
      if (from !== undefined) page.set(from.subarray(at, at + sectorBytes), at)
    }
    return page
  }
}

/** A change of a directory that is not durable yet: names with the node that each leads to, undefined for none. */
interface DirectoryChange {
  readonly sequence: number
  readonly names: readonly (readonly [string, number | undefined])[]
  /** The other directory of a rename from one to another, which happens in both or in none. */
  readonly other: number | undefined
}

export class DirectoryNode {
  readonly kind = 'directory'
  owner: object
  readonly entries: Map<string, number>
  readonly durable: Map<string, number>
  changes: DirectoryChange[]

  constructor(
    owner: object,
    entries: Map<string, number> = new Map(),
    durable: Map<string, number> = new Map(),
    changes: DirectoryChange[] = [],
  ) {
    this.owner = owner
    this.entries = entries
    this.durable = durable
    this.changes = changes
  }

  copy(owner: object): DirectoryNode {
    return new DirectoryNode(owner, new Map(this.entries), new Map(this.durable), this.changes.slice())
  }

  change(change: DirectoryChange): void {
    for (const [name, node] of change.names) {
      if (node === undefined) this.entries.delete(name)
      else this.entries.set(name, node)
    }
    this.changes.push(change)
  }

  /** Makes the oldest change durable. */
  settleFirst(): DirectoryChange | undefined {
    const first = this.changes.shift()
    for (const [name, node] of first?.names ?? []) {
      if (node === undefined) this.durable.delete(name)
      else this.durable.set(name, node)
    }
    return first
  }
}

export type DiskNode = FileNode | DirectoryNode
