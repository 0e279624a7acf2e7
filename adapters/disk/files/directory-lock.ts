/**
 * One process a data directory.
 *
 * On Linux the claim is an abstract Unix socket named after the directory's device and inode: the kernel frees it when
 * the process dies, however it dies. The file `ratatoskr.lock` says who holds the directory, and is the claim itself
 * where there are no abstract sockets, or where processes see the same directory from different network namespaces. On a
 * full disk the socket alone has to do: reading, deleting and repairing must work there.
 */
import { constants } from 'node:fs'
import { open, readFile, stat, unlink } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import type { DirectoryLock } from 'ratatoskr/ports'
import { RatatoskrError } from 'ratatoskr/ports'
import { isFull, systemCodeOf } from './file-system.ts'

export const lockFileName = 'ratatoskr.lock'

// Without it opening a pipe waits for its other end.
const nonBlocking = constants.O_NONBLOCK ?? 0

/** What the lock file says of its holder. */
interface Holder {
  readonly pid: number
  /** When the process began, in the kernel's ticks since boot: tells it from a later process of the same number. */
  readonly startedAt: string
  readonly bootId: string
  /** Device and inode of the directory: a copied directory carries its original's lock file, which claims nothing. */
  readonly directory: string
  /** It has the socket as well. */
  readonly socket?: boolean
}

/**
 * Claims a directory that exists.
 * @throws RTK_STORE_LOCKED
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const { dev, ino } = await stat(directory)
  const identity = `${dev}:${ino}`
  const path = join(directory, lockFileName)
  const socket = await claimSocket(identity, path)
  try {
    const holder = await readHolder(path)
    // Within one process the socket tells: a thread that crashed has lost it, and left the file behind.
    const crashedHere = socket !== undefined && holder?.pid === process.pid && holder.socket === true
    if (holder !== undefined && !crashedHere && (await isAlive(holder, identity))) throw locked(holder.pid)
    const self: Holder = {
      pid: process.pid,
      startedAt: await startOf(process.pid),
      bootId: await bootId(),
      directory: identity,
      socket: socket !== undefined,
    }
    await writeHolder(path, self).catch((error: unknown) => {
      if (socket === undefined || !isFull(error)) throw error
    })
  } catch (error) {
    await closeSocket(socket)
    throw error
  }
  return {
    async release() {
      await unlink(path).catch(() => undefined)
      await closeSocket(socket)
    },
  }
}

/** The process that holds a directory; undefined when nobody does. Touches nothing. */
export async function lockHolderOf(directory: string): Promise<number | undefined> {
  const { dev, ino } = await stat(directory)
  const holder = await readHolder(join(directory, lockFileName))
  return holder !== undefined && (await isAlive(holder, `${dev}:${ino}`)) ? holder.pid : undefined
}

async function claimSocket(identity: string, path: string): Promise<net.Server | undefined> {
  if (process.platform !== 'linux') return undefined
  const server = net.createServer((connection) => connection.destroy())
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ path: `\0ratatoskr:${identity}` }, resolve)
    })
  } catch (error) {
    if (systemCodeOf(error) !== 'EADDRINUSE') throw error
    throw locked((await readHolder(path))?.pid)
  }
  server.unref()
  return server
}

async function closeSocket(server: net.Server | undefined): Promise<void> {
  if (server !== undefined) await new Promise((resolve) => server.close(resolve))
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder: unknown = JSON.parse(await readRegular(path))
    const whole =
      typeof holder === 'object' && holder !== null && 'pid' in holder && Number.isInteger(holder.pid)
    return whole ? (holder as Holder) : undefined
  } catch {
    // Missing, or half-written by a process that died: nobody holds the directory by it.
    return undefined
  }
}

/** Empty where something else than a file stands, which is not waited for. */
async function readRegular(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | nonBlocking)
  try {
    if (!(await file.stat()).isFile()) return ''
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

async function writeHolder(path: string, holder: Holder): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | nonBlocking, 0o600)
  try {
    if (!(await file.stat()).isFile())
      throw Object.assign(new Error('it is no regular file'), { code: 'EFTYPE' })
    await file.truncate()
    await file.writeFile(`${JSON.stringify(holder)}\n`)
  } finally {
    await file.close()
  }
}

async function isAlive(holder: Holder, identity: string): Promise<boolean> {
  if (holder.directory !== identity || holder.bootId !== (await bootId())) return false
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if (systemCodeOf(error) === 'ESRCH') return false
  }
  return holder.startedAt === (await startOf(holder.pid))
}

const bootId = async (): Promise<string> =>
  (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim()

/** Start time of a process from /proc: field 22, counted after the command's closing parenthesis. Empty elsewhere. */
async function startOf(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

/** The error that names who holds a directory. */
export function locked(pid: number | undefined): RatatoskrError {
  const who = pid === undefined ? 'another process' : `process ${pid}`
  return new RatatoskrError(
    'RTK_STORE_LOCKED',
    `the data directory is in use by ${who}; stop it, or choose another directory`,
    { details: { pid: pid ?? null } },
  )
}
