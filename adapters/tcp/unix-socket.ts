/**
 * Listening on a Unix socket: its file is never open to others, not even for a moment, and nothing is removed that is not
 * surely the socket of a broker that is gone.
 *
 * A server is bound to a name in a private folder beside the path, gets its mode there, and is then linked to the path:
 * `link` fails where something is, so that of two brokers that start at once one is refused.
 */
import { chmod, link, lstat, mkdtemp, rm, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { RatatoskrError } from 'ratatoskr/ports'

/** What the name of a Unix socket may have, in bytes, less its terminating zero: `sun_path` of Linux; others have less. */
const pathBytesMax = process.platform === 'linux' ? 107 : 103

/** A file by what cannot be mistaken for another's while it exists. */
interface Identity {
  readonly dev: bigint
  readonly ino: bigint
}

/**
 * Listens on `path`.
 * @returns removes the file, unless it is another's by now
 * @throws RTK_ADDRESS_IN_USE, RTK_CONFIG_INVALID
 */
export async function listenOnPath(server: Server, path: string, mode: number): Promise<() => Promise<void>> {
  await clearPath(path)
  const folder = await mkdtemp(join(dirname(path), '.rtk-')).catch((cause) => {
    throw invalid(path, `its folder cannot be written (${cause.code})`, cause)
  })
  const bound = join(folder, 's')
  try {
    if (Buffer.byteLength(bound) > pathBytesMax || Buffer.byteLength(path) > pathBytesMax) {
      throw invalid(
        path,
        `the path is too long: at most ${pathBytesMax} bytes, and some for a folder beside it`,
      )
    }
    await listening(server, path, bound)
    await chmod(bound, mode)
    const { dev, ino } = await lstat(bound, { bigint: true })
    await link(bound, path)
    return () => removeIfSame(path, { dev, ino })
  } catch (error) {
    server.close()
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw inUse(path, error)
    throw error
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function listening(server: Server, path: string, bound: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void =>
      reject(invalid(path, `it cannot be listened on (${cause.code})`, cause))
    server.once('error', failed)
    server.listen(bound, () => {
      server.off('error', failed)
      resolve()
    })
  })
}

/** Removes the socket of a broker that is gone. @throws RTK_ADDRESS_IN_USE, RTK_CONFIG_INVALID for what is no socket */
async function clearPath(path: string): Promise<void> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) {
    throw invalid(path, 'something that is no socket has this name; choose another path')
  }
  if (await answers(path)) throw inUse(path, undefined)
  await removeIfSame(path, found)
}

/** False only when the kernel says that nobody listens. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT')
    })
  })
}

async function removeIfSame(path: string, { dev, ino }: Identity): Promise<void> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined)
  if (found?.dev !== dev || found.ino !== ino) return
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw invalid(path, `the socket cannot be removed (${error.code})`, error)
  })
}

const inUse = (path: string, cause: unknown): RatatoskrError =>
  new RatatoskrError(
    'RTK_ADDRESS_IN_USE',
    `a broker listens on ${basename(path)} already; choose another path`,
    {
      cause,
    },
  )

const invalid = (path: string, what: string, cause?: unknown): RatatoskrError =>
  new RatatoskrError('RTK_CONFIG_INVALID', `cannot listen on the Unix socket ${basename(path)}: ${what}`, {
    cause,
  })
