/** The ten kinds of damage of the corruption battery: what each makes of the files of an image. */
import { batchSizeOf } from 'ratatoskr/ports'
import { type Image, root, type StoredBatch } from './image.ts'

/** What a mutation did. */
export interface Mutation {
  readonly kind: MutationKind
  /** For people: which file, where, and what. */
  readonly what: string
  /** New contents by path; undefined when the file is gone. */
  readonly files: ReadonlyMap<string, Uint8Array | undefined>
  /** Everything of `file` from `position` on lies `by` bytes further now. */
  readonly shift?: { readonly file: string; readonly position: number; readonly by: number }
  /** Files contradict each other, so that the log may, or must, be refused as a whole. */
  readonly refusal?: 'may' | 'must'
  /** A last segment that lost whole batches at its end and nothing else: nothing in it tells. */
  readonly leavesNoTrace?: boolean
}

type Random = () => number
type Test = (path: string) => boolean
/** @param only the files that may be damaged; undefined for any */
type Maker = (image: Image, random: Random, only?: Test) => Mutation

export const mutationKinds = [
  'bit flipped',
  'byte changed',
  'sector zeroed',
  'sectors swapped',
  'truncated',
  'extended',
  'batch doubled',
  'segment doubled',
  'length damaged',
  'other file damaged',
] as const

export type MutationKind = (typeof mutationKinds)[number]

const sectorBytes = 512

const pick = <T>(items: readonly T[], random: Random): T => items[Math.floor(random() * items.length)]
const below = (limit: number, random: Random): number => Math.floor(random() * limit)
const nameOf = (path: string): string => path.slice(root.length + 1)

const isSegment: Test = (path) => path.startsWith(`${root}/logs/`) && path.endsWith('.log')
const isState: Test = (path) => path.startsWith(`${root}/state/`)
const isIndex: Test = (path) => path.startsWith(`${root}/logs/`) && path.endsWith('.index')
const fileTests = { segment: isSegment, state: isState, index: isIndex } as const

export type FileKind = keyof typeof fileTests

/** A file with something in it: mostly a segment, sometimes state, an index or another. */
function pickFile(image: Image, random: Random, only?: Test): string {
  const all = [...image.files].filter(([, bytes]) => bytes.length > 0).map(([path]) => path)
  const draw = random()
  const wanted = only ?? (draw < 0.75 ? isSegment : draw < 0.9 ? isState : () => true)
  return pick(all.filter(wanted), random)
}

const contentsOf = (image: Image, path: string): Uint8Array => (image.files.get(path) as Uint8Array).slice()

function changed(
  kind: MutationKind,
  path: string,
  bytes: Uint8Array | undefined,
  what: string,
  more: Partial<Mutation> = {},
): Mutation {
  return { kind, what: `${nameOf(path)}: ${what}`, files: new Map([[path, bytes]]), ...more }
}

function flipBit(image: Image, random: Random, only?: Test): Mutation {
  const path = pickFile(image, random, only)
  const bytes = contentsOf(image, path)
  const [at, bit] = [below(bytes.length, random), below(8, random)]
  bytes[at] ^= 1 << bit
  return changed('bit flipped', path, bytes, `bit ${bit} of byte ${at}`)
}

function changeByte(image: Image, random: Random, only?: Test): Mutation {
  const path = pickFile(image, random, only)
  const bytes = contentsOf(image, path)
  const at = below(bytes.length, random)
  bytes[at] = (bytes[at] + 1 + below(255, random)) & 0xff
  return changed('byte changed', path, bytes, `byte ${at}`)
}

function zeroSector(image: Image, random: Random, only?: Test): Mutation {
  const path = pickFile(image, random, only)
  const bytes = contentsOf(image, path)
  const sector = below(Math.ceil(bytes.length / sectorBytes), random)
  bytes.fill(0, sector * sectorBytes, (sector + 1) * sectorBytes)
  return changed('sector zeroed', path, bytes, `sector ${sector}`)
}

/**
 * Not in a segment that ends torn: a part of the batch that nobody was promised would stand before those that count, and the
 * batches in its payload could not be told from them.
 */
function swapSectors(image: Image, random: Random, only?: Test): Mutation {
  const isTorn = (path: string): boolean =>
    image.name === 'torn' && image.logs.some(({ batches }) => batches.at(-1)?.file === path)
  const isFit = (path: string): boolean => (image.files.get(path)?.length ?? 0) > 2 * sectorBytes
  const path = pickFile(image, random, (one) => isFit(one) && !isTorn(one) && (only?.(one) ?? true))
  const bytes = contentsOf(image, path)
  const count = Math.floor(bytes.length / sectorBytes)
  const one = below(count, random)
  const other = (one + 1 + below(count - 1, random)) % count
  const [first, second] = [one, other].map((at) => bytes.slice(at * sectorBytes, (at + 1) * sectorBytes))
  bytes.set(second, one * sectorBytes)
  bytes.set(first, other * sectorBytes)
  return changed('sectors swapped', path, bytes, `sectors ${one} and ${other}`)
}

function truncate(image: Image, random: Random, only?: Test): Mutation {
  const path = pickFile(image, random, only)
  const bytes = contentsOf(image, path)
  const batches = batchesIn(image, path)
  const atBoundary = batches.length > 0 && random() < 0.15
  const size = atBoundary ? pick(batches, random).position : below(bytes.length, random)
  const isLast = image.logs.some((log) => log.batches.at(-1)?.file === path)
  const leavesNoTrace = isLast && batches.some(({ position }) => position === size)
  return changed('truncated', path, bytes.slice(0, size), `to ${size} of ${bytes.length} bytes`, {
    leavesNoTrace,
  })
}

function extend(image: Image, random: Random, only?: Test): Mutation {
  const path = pickFile(image, random, only)
  const bytes = contentsOf(image, path)
  const count = 1 + below(random() < 0.5 ? 60 : 3000, random)
  const zeros = random() < 0.5
  const longer = new Uint8Array(bytes.length + count)
  longer.set(bytes)
  if (!zeros) for (let at = bytes.length; at < longer.length; at++) longer[at] = below(256, random)
  return changed('extended', path, longer, `by ${count} bytes of ${zeros ? 'zeros' : 'garbage'}`)
}

const batchesIn = (image: Image, path: string): readonly StoredBatch[] =>
  image.logs.flatMap(({ batches }) => batches.filter(({ file }) => file === path))

/** A batch stands in its segment a second time: between others, or over the one that was there. */
function duplicateBatch(image: Image, random: Random): Mutation {
  const path = pickFile(image, random, isSegment)
  const bytes = contentsOf(image, path)
  const batches = batchesIn(image, path)
  const [source, target] = [pick(batches, random), pick(batches, random)]
  const what = `batch ${source.from} again at ${target.position}`
  if (source !== target && random() < 0.5) {
    const before = bytes.length
    const longer = new Uint8Array(Math.max(before, target.position + source.bytes.length))
    longer.set(bytes)
    longer.set(source.bytes, target.position)
    return changed('batch doubled', path, longer, `${what}, over what was there`, { refusal: 'may' })
  }
  const at = target.position + target.bytes.length
  const longer = new Uint8Array(bytes.length + source.bytes.length)
  longer.set(bytes.subarray(0, at))
  longer.set(source.bytes, at)
  longer.set(bytes.subarray(at), at + source.bytes.length)
  return changed('batch doubled', path, longer, `batch ${source.from} again at ${at}, between others`, {
    refusal: 'may',
    shift: { file: path, position: at, by: source.bytes.length },
  })
}

/** A segment is there a second time under a name that no other has, with its index or without. */
function duplicateSegment(image: Image, random: Random): Mutation {
  const path = pickFile(image, random, isSegment)
  const base = Number(path.slice(-24, -4))
  const copyBase = base + 1 + below(random() < 0.5 ? 3 : 200, random)
  const copy = `${path.slice(0, -24)}${String(copyBase).padStart(20, '0')}.log`
  if (image.files.has(copy)) return duplicateSegment(image, random)
  const files = new Map([[copy, contentsOf(image, path)]])
  const index = path.replace(/log$/, 'index')
  if (image.files.has(index) && random() < 0.5) {
    files.set(copy.replace(/log$/, 'index'), contentsOf(image, index))
  }
  return {
    kind: 'segment doubled',
    what: `${nameOf(path)}: a copy under base offset ${copyBase}${files.size > 1 ? ', with its index' : ''}`,
    files,
    // With one batch alone, right behind the end, it may as well be a batch whose offset is damaged.
    refusal: batchesIn(image, path).length > 1 ? 'must' : 'may',
  }
}

function damageLength(image: Image, random: Random): Mutation {
  const path = pickFile(image, random, isSegment)
  const bytes = contentsOf(image, path)
  const batches = batchesIn(image, path)
  const place = below(batches.length, random)
  const { position, bytes: batch } = batches[place]
  const size = batchSizeOf(batch)
  const next = batches[place + 1]?.bytes.length ?? 0
  const lengths = [
    0,
    -1,
    1,
    48,
    49,
    50,
    size - 13,
    size - 11,
    size + next - 12,
    2 ** 31 - 1,
    2 ** 24,
    -(2 ** 31),
  ]
  const length = pick(
    lengths.filter((one) => one !== size - 12),
    random,
  )
  new DataView(bytes.buffer).setInt32(position + 8, length)
  return changed('length damaged', path, bytes, `length of batch ${batches[place].from} is ${length}`)
}

/** What is not a segment: gone, empty, cut, or full of garbage. */
function damageOther(image: Image, random: Random, only?: Test): Mutation {
  const path = pickFile(image, random, (one) => !isSegment(one) && (only?.(one) ?? true))
  const kind = 'other file damaged'
  const size = image.files.get(path)?.length ?? 0
  switch (below(4, random)) {
    case 0:
      return changed(kind, path, undefined, 'gone')
    case 1:
      return changed(kind, path, new Uint8Array(0), 'empty')
    case 2:
      return changed(kind, path, contentsOf(image, path).slice(0, below(size, random)), 'cut')
    default:
      return changed(
        kind,
        path,
        contentsOf(image, path).map(() => below(256, random)),
        'garbage',
      )
  }
}

const makers: Readonly<Record<MutationKind, Maker>> = {
  'bit flipped': flipBit,
  'byte changed': changeByte,
  'sector zeroed': zeroSector,
  'sectors swapped': swapSectors,
  truncated: truncate,
  extended: extend,
  'batch doubled': duplicateBatch,
  'segment doubled': duplicateSegment,
  'length damaged': damageLength,
  'other file damaged': damageOther,
}

/** A mutation of one kind, as the random numbers have it. @param files what is damaged; undefined for any that the kind takes */
export const mutate = (kind: MutationKind, image: Image, random: Random, files?: FileKind): Mutation =>
  makers[kind](image, random, files && fileTests[files])
