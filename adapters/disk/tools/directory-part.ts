/**
 * A data directory may be spread over several: one has the state that names the topics, and each has some of their logs.
 * Which log belongs where is for whoever spreads them to say.
 */
import { join, relative } from 'node:path'
import type { FileSystem } from 'ratatoskr/ports'

/** One of the directories that have the logs of the same topics among them. */
export interface DirectoryPart {
  /** All of them. The state of the first names the topics of all, and paths are told below it. */
  readonly directories: readonly string[]
  /** The place of this one among them. */
  readonly index: number
  /**
   * The place of the directory that a log belongs in.
   * @param topicKey what the topic is stored under in the state
   */
  placeOf(topicKey: string, topicId: string, partition: number): number
}

/** A directory by itself, or one of several. */
export const partOf = (directory: string | DirectoryPart): DirectoryPart =>
  typeof directory === 'string' ? { directories: [directory], index: 0, placeOf: () => 0 } : directory

/** The directory itself, and the first of all. */
export const pathsOf = ({ directories, index }: DirectoryPart) => ({
  directory: directories[index],
  root: directories[0],
})

/** How a directory is called below the first one. */
export const nameOf = ({ directories }: DirectoryPart, place: number): string =>
  place === 0 ? 'the data directory itself' : relative(directories[0], directories[place])

/** Names in this directory that lead to others of them. */
export const namesOfOthers = ({ directories, index }: DirectoryPart): ReadonlySet<string> =>
  new Set(directories.map((one) => relative(directories[index], one).split('/')[0]))

/** True when one of the other directories has a log. */
export async function isElsewhere(
  fileSystem: FileSystem,
  { directories, index }: DirectoryPart,
  topicId: string,
  partition: number,
): Promise<boolean> {
  for (const [place, directory] of directories.entries()) {
    if (place === index) continue
    if ((await fileSystem.list(`${directory}/logs/${topicId}`)).includes(`${partition}`)) return true
  }
  return false
}

/** What was found in a part, with paths below the first directory. */
export async function* toldBelowFirst<T extends { readonly file: string }>(
  part: DirectoryPart,
  found: AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  const { directory, root } = pathsOf(part)
  const folder = relative(root, directory)
  for await (const one of found) yield folder === '' ? one : { ...one, file: join(folder, one.file) }
}
