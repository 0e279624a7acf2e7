/**
 * The file of an audit log: appends lines to the chain, and finds its end again after a restart or a failed write.
 * A last line that a crash cut off is set aside in a file beside it, and that is recorded.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { RatatoskrError } from 'ratatoskr/ports'
import { type AuditEntry, type ChainEnd, genesis, lineBytesMax, nextLine, readLine } from './chain.ts'

const lineFeed = 0x0a

export interface AuditFileOptions {
  readonly path: string
  /** Waits for the disk after each append. */
  readonly fsync: boolean
  /** The time of entries that the file itself makes, as ISO 8601. */
  readonly now: () => string
}

interface OpenFile {
  readonly handle: FileHandle
  end: ChainEnd
}

export class AuditFile {
  readonly #options: AuditFileOptions
  #open: OpenFile | undefined
  #closed = false
  /** One append after the other, also when a caller does not wait. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: AuditFileOptions) {
    this.#options = options
  }

  /**
   * Appends entries, all in one write. After a failure the file is opened anew with the next call, so that half a line
   * never stays in the middle of it.
   * @throws RTK_STORE_FAILED when the file cannot be written, RTK_STORE_CORRUPT when its end cannot be found, RTK_CLOSED
   */
  append(entries: readonly AuditEntry[]): Promise<void> {
    return this.#inTurn(() => this.#append(entries))
  }

  /** Closes for good, after the appends that were asked for before. */
  close(): Promise<void> {
    return this.#inTurn(() => {
      this.#closed = true
      return this.#close()
    })
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(run)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #append(entries: readonly AuditEntry[]): Promise<void> {
    if (this.#closed) throw new RatatoskrError('RTK_CLOSED', 'the audit log was closed')
    try {
      this.#open ??= await this.#openFile()
      await this.#write(this.#open, entries)
    } catch (error) {
      await this.#close().catch(() => undefined)
      if (error instanceof RatatoskrError) throw error
      throw new RatatoskrError('RTK_STORE_FAILED', 'the audit log could not be written; see the cause', {
        cause: error,
      })
    }
  }

  async #close(): Promise<void> {
    const handle = this.#open?.handle
    this.#open = undefined
    await handle?.close()
  }

  async #write(file: OpenFile, entries: readonly AuditEntry[]): Promise<void> {
    let end = file.end
    let text = ''
    for (const entry of entries) {
      const line = nextLine(end, entry)
      text += `${line.text}\n`
      end = line
    }
    await file.handle.appendFile(text)
    if (this.#options.fsync) await file.handle.datasync()
    file.end = { seq: end.seq, hash: end.hash }
  }

  async #openFile(): Promise<OpenFile> {
    const { path, now } = this.#options
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const handle = await open(path, 'a+', 0o600)
    try {
      await handle.chmod(0o600)
      const tail = await readTail(handle)
      const file = { handle, end: tail.end }
      if (tail.torn.length > 0) {
        await setAside(`${path}.torn`, tail.torn)
        await handle.truncate(tail.sizeBytes)
        const sha256 = createHash('sha256').update(tail.torn).digest('hex')
        await this.#write(file, [{ time: now(), event: 'auditTorn', sizeBytes: tail.torn.length, sha256 }])
      }
      return file
    } catch (error) {
      await handle.close()
      throw error
    }
  }
}

interface Tail {
  readonly end: ChainEnd
  /** Bytes up to the end of the last whole line. */
  readonly sizeBytes: number
  /** What stands behind it. */
  readonly torn: Uint8Array
}

/** Finds the last line of the chain. What a crash can leave behind it is one piece: half a line, or one of garbage. */
async function readTail(handle: FileHandle): Promise<Tail> {
  const { size } = await handle.stat()
  const start = Math.max(0, size - 2 * (lineBytesMax + 1))
  const bytes = new Uint8Array(size - start)
  for (let filled = 0; filled < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  for (const sizeBytes of [bytes.length, lineStart(bytes, Math.max(0, bytes.length - 1))]) {
    const end = endOf(bytes.subarray(0, sizeBytes), start === 0)
    if (end !== undefined) return { end, sizeBytes: start + sizeBytes, torn: bytes.subarray(sizeBytes) }
  }
  throw new RatatoskrError(
    'RTK_STORE_CORRUPT',
    'the audit log is damaged before its last line; run `ratatoskr audit verify`, and move it aside to begin a new one',
  )
}

/** Where the chain stands after `bytes`; undefined when they do not end in a line of it. */
function endOf(bytes: Uint8Array, fromStart: boolean): ChainEnd | undefined {
  if (bytes.length === 0) return fromStart ? genesis : undefined
  if (bytes[bytes.length - 1] !== lineFeed) return undefined
  const line = readLine(bytes.subarray(lineStart(bytes, bytes.length - 1), bytes.length - 1))
  return typeof line === 'string' ? undefined : { seq: line.seq, hash: line.hash }
}

/** Where the line begins that goes on at `at`. */
const lineStart = (bytes: Uint8Array, at: number): number => bytes.subarray(0, at).lastIndexOf(lineFeed) + 1

async function setAside(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'a', 0o600)
  try {
    await handle.appendFile(bytes)
    await handle.appendFile('\n')
    await handle.datasync()
  } finally {
    await handle.close()
  }
}
