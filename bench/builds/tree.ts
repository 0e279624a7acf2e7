/** A folder with the sources of a commit and their dependencies, from which its bench runs. */
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { UsageError } from '../flags.ts'

const run = promisify(execFile)

/** The sources that this file belongs to. */
export const ownTree = fileURLToPath(new URL('../..', import.meta.url))

export interface Tree extends AsyncDisposable {
  readonly path: string
  /** What it is called in the report. */
  readonly name: string
}

/**
 * The tree of a commit, or of a folder that holds one already.
 * @param named a revision, or a path
 * @param source the tree whose history knows the revision
 * @throws UsageError when it is neither
 */
export async function treeOf(named: string, source = ownTree): Promise<Tree> {
  if (await isFile(join(named, 'bench', 'main.ts'))) {
    return { path: named, name: named, async [Symbol.asyncDispose]() {} }
  }
  const commit = await commitOf(named, source)
  if (commit === undefined) throw new UsageError(`${named} is neither a tree with a bench nor a commit`)
  const path = await mkdtemp(join(tmpdir(), 'ratatoskr-tree-'))
  // Of a bench that is interrupted nothing stays either.
  const removeNow = (): void => rmSync(path, { recursive: true, force: true })
  process.once('exit', removeNow)
  const remove = async (): Promise<void> => {
    process.off('exit', removeNow)
    await rm(path, { recursive: true, force: true })
  }
  try {
    const archive = join(path, 'tree.tar')
    await run('git', ['-C', source, 'archive', '--output', archive, commit])
    await run('tar', ['-xf', archive, '-C', path])
    await rm(archive)
    await addDependencies(path, source)
  } catch (error) {
    await remove()
    throw error
  }
  return { path, name: commit.slice(0, 12), [Symbol.asyncDispose]: remove }
}

/** The id of a commit; undefined when the history does not have it, as in a clone of the last commit only. */
export async function commitOf(revision: string, source = ownTree): Promise<string | undefined> {
  try {
    const { stdout } = await run('git', [
      '-C',
      source,
      'rev-parse',
      '--verify',
      '--quiet',
      `${revision}^{commit}`,
    ])
    return stdout.trim()
  } catch {
    return undefined
  }
}

/** Those that are installed for us, where it wants the same. */
async function addDependencies(path: string, source: string): Promise<void> {
  const [own, others] = await Promise.all(
    [source, path].map((tree) => readFile(join(tree, 'package-lock.json'), 'utf8').catch(() => undefined)),
  )
  if (own === others) await symlink(join(source, 'node_modules'), join(path, 'node_modules'))
  else await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: path })
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
