/** A data directory as the tools of the disk adapter take it: that of the first worker, and one for each of the others. */
import { basename, dirname, relative, resolve } from 'node:path'
import type { DirectoryPart } from 'ratatoskr/adapters/disk'
import { ownerAmong } from '../../application/workers/placement.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { directoryOfWorker, type WrittenWorkers, workersOf } from './worker-directories.ts'

export interface DirectoryParts extends Pick<WrittenWorkers, 'problem' | 'advice'> {
  /** The first worker's comes first. */
  readonly parts: readonly DirectoryPart[]
}

/** @throws RTK_INVALID_ARGUMENT for the folder of one worker, whose topics are described elsewhere */
export async function partsOf(directory: string): Promise<DirectoryParts> {
  await assertWhole(resolve(directory))
  const { count = 1, ...trouble } = await workersOf(directory)
  const directories = Array.from({ length: count }, (_, index) => directoryOfWorker(directory, index))
  const placeOf = (topicKey: string, topicId: string, partition: number): number => {
    const [, namespace, name] = topicKey.split('/')
    return ownerAmong({ namespace, name }, topicId, partition, count)
  }
  return { ...trouble, parts: directories.map((_, index) => ({ directories, index, placeOf })) }
}

/** How a part is called below the data directory; empty for the first. */
export const partName = ({ directories, index }: DirectoryPart): string =>
  relative(directories[0], directories[index])

/** The paths, given below the data directory, that lie in a part; those in none are the first one's to refuse. */
export function pathsWithin(
  { directories, index }: DirectoryPart,
  paths: readonly string[],
): readonly string[] {
  const placeOf = (path: string): number => {
    const file = resolve(directories[0], path)
    const place = directories.findLastIndex((one) => file.startsWith(`${resolve(one)}/`))
    return Math.max(0, place)
  }
  return paths.filter((path) => placeOf(path) === index)
}

async function assertWhole(path: string): Promise<void> {
  const folder = dirname(path)
  if (!/^[1-9]\d*$/.test(basename(path)) || basename(folder) !== 'workers') return
  const whole = dirname(folder)
  const { count = 1 } = await workersOf(whole)
  if (count <= Number(basename(path))) return
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `this is the folder of one worker of several: name the data directory itself, ${JSON.stringify(whole)}`,
  )
}
