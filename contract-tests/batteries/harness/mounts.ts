/**
 * File systems for one battery: small ones that fill up, and ones on images that can be looked at as they are at a moment.
 *
 * Everything is mounted in a mount namespace of the battery's own, so that nothing of it can be seen or left behind, however
 * the battery ends: with its last process the mounts go, and with them the loop devices, which the kernel made for them.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { constants, copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onInterrupt } from './battery.ts'

const namespaceMark = 'BATTERY_MOUNT_NAMESPACE'

/**
 * Makes sure that the battery has a mount namespace of its own: runs itself again in one, and ends with its exit code.
 * @returns why that is not possible here, undefined when it is
 */
export async function ownNamespace(): Promise<string | undefined> {
  if (process.env[namespaceMark] !== undefined) return undefined
  if (process.getuid?.() !== 0) return 'needs root, to mount file systems'
  const enter = ['--mount', '--propagation', 'private']
  const tried = spawnSync('unshare', [...enter, 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()])
  if (tried.status !== 0) {
    return `needs the right to mount: ${tried.error?.message ?? tried.stderr.toString().trim()}`
  }
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn('unshare', [...enter, ...command], {
    stdio: 'inherit',
    env: { ...process.env, [namespaceMark]: '1' },
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const [code] = await once(child, 'exit')
  process.exit(code ?? 1)
}

/** What is missing to make file systems of a kind; undefined when nothing is. */
export function missingFor(kind: ImageKind): string | undefined {
  const { error } = spawnSync(`mkfs.${kind}`, ['-V'])
  if (error !== undefined)
    return `mkfs.${kind} is missing (Debian: ${kind === 'xfs' ? 'xfsprogs' : 'e2fsprogs'})`
  return undefined
}

export type ImageKind = 'ext4' | 'xfs'

export class Mounts implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'ratatoskr-mounts-'))
  readonly #mounted: string[] = []

  constructor() {
    onInterrupt(() => this[Symbol.dispose]())
  }

  /** A file system in memory. @returns where it is */
  tmpfs(name: string, size: string): string {
    return this.#mount(name, ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs'])
  }

  /** Mounts an image on a loop device of its own. @returns where it is */
  image(name: string, file: string, kind: ImageKind): string {
    // What is removed is given back to the file below. A copy of an xfs has the identity of its original, which may be
    // mounted at the same time.
    const options = kind === 'xfs' ? 'loop,discard,nouuid' : 'loop,discard'
    return this.#mount(name, ['-t', kind, '-o', options, file])
  }

  #mount(name: string, args: readonly string[]): string {
    const path = join(this.directory, name)
    mkdirSync(path, { recursive: true })
    run('mount', [...args, path])
    this.#mounted.push(path)
    return path
  }

  unmount(path: string): void {
    run('umount', [path])
    this.#mounted.splice(this.#mounted.indexOf(path), 1)
  }

  [Symbol.dispose](): void {
    // Detached, whoever still uses it: in our own namespace it is gone when that one is.
    for (const path of this.#mounted.splice(0).reverse()) spawnSync('umount', ['--lazy', path])
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Makes a file that holds an empty file system. Blocks of it that were never written take no room. */
export function makeImage(
  file: string,
  kind: ImageKind,
  megabytes: number,
  options: readonly string[] = [],
): void {
  writeFileSync(file, '')
  truncateSync(file, megabytes * 1024 * 1024)
  const quick = kind === 'ext4' ? ['-F', '-E', 'lazy_itable_init=0,nodiscard'] : []
  run(`mkfs.${kind}`, ['-q', ...quick, ...options, file])
}

/** The file as it is at this moment. Only where blocks can be shared: the copy is made at once, and nothing is written meanwhile. */
export function cloneFile(from: string, to: string): void {
  copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE)
}

function run(command: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(command, args)
  if (status === 0) return
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.toString().trim()}`)
}
