/**
 * A log store on SQLite, in one file, to show what it takes to write one: it imports `ratatoskr/ports` and nothing else of
 * Ratatoskr, and `logStoreContract` in the test beside it says whether it is right.
 *
 * Each append is a transaction that SQLite syncs before it returns, so that the one level it offers is `fsync`.
 */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import {
  assertAppendsAtEnd,
  assertDurability,
  assertLogId,
  assertReadable,
  type BatchBytes,
  type Checksum,
  closedError,
  crcOf,
  crcStart,
  type Durability,
  type LogId,
  type LogStore,
  type LogStoreSupports,
  LogStoreTally,
  maxTimestampOf,
  type OffsetRange,
  type PartitionLog,
  RatatoskrError,
} from 'ratatoskr/ports'

export interface SqliteLogStoreOptions {
  /** The database file; made when it is not there. */
  readonly path: string
  /** CRC-32C, to verify what is read: `platform.checksum`. */
  readonly checksum: Checksum
  /** Pages of 4 KiB that the database may have; unbounded otherwise. */
  readonly pagesMax?: number
}

const schema = `
  PRAGMA page_size = 4096;
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS logs (
    id INTEGER PRIMARY KEY, topic_id TEXT NOT NULL, partition INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0, end_offset INTEGER NOT NULL DEFAULT 0, UNIQUE (topic_id, partition)
  );
  CREATE TABLE IF NOT EXISTS batches (
    log INTEGER NOT NULL, base_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    max_timestamp INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (log, base_offset)
  );
`

type Row = Record<string, unknown>

/** The database with its errors made ours. */
class Database {
  readonly #database: DatabaseSync

  constructor({ path, pagesMax }: SqliteLogStoreOptions) {
    this.#database = translated(() => new DatabaseSync(path))
    translated(() => this.#database.exec(schema))
    if (pagesMax !== undefined) translated(() => this.#database.exec(`PRAGMA max_page_count = ${pagesMax}`))
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return translated(() => this.#database.prepare(sql).all(...values) as Row[])
  }

  one(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return translated(() => this.#database.prepare(sql).get(...values) as Row | undefined)
  }

  *each(sql: string, ...values: SQLInputValue[]): Generator<Row, void, undefined> {
    yield* this.#database.prepare(sql).iterate(...values) as Iterable<Row>
  }

  /** Runs changes that take effect together or not at all. */
  transaction(changes: readonly (readonly [sql: string, ...values: SQLInputValue[]])[]): void {
    translated(() => {
      this.#database.exec('BEGIN IMMEDIATE')
      try {
        for (const [sql, ...values] of changes) this.#database.prepare(sql).run(...values)
        this.#database.exec('COMMIT')
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
        throw error
      }
    })
  }

  close(): void {
    this.#database.close()
  }
}

function translated<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof RatatoskrError) throw error
    const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
    if (code === 13) throw new RatatoskrError('RTK_STORE_FULL', 'the database is full', { cause: error })
    if (code === 5)
      throw new RatatoskrError('RTK_STORE_LOCKED', 'another process has the database', { cause: error })
    throw new RatatoskrError('RTK_STORE_FAILED', 'the database failed', { cause: error })
  }
}

export class SqliteLogStore implements LogStore {
  readonly name = 'sqlite'
  readonly supports: LogStoreSupports = Object.freeze({
    durability: Object.freeze(['fsync'] as const),
    reopen: true,
    timeIndex: true,
    truncateAfter: true,
    fencing: false,
  })
  readonly counters = new LogStoreTally()
  readonly #options: SqliteLogStoreOptions
  readonly #open = new Map<string, SqliteLog>()
  #database: Database | undefined

  constructor(options: SqliteLogStoreOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#database ??= new Database(this.#options)
  }

  async stop(): Promise<void> {
    for (const log of this.#open.values()) await log.close()
    this.#database?.close()
    this.#database = undefined
  }

  async openLog(id: LogId): Promise<PartitionLog> {
    const database = this.#started()
    assertLogId(id)
    const key = `${id.topicId}/${id.partition}`
    if (this.#open.has(key)) throw new RatatoskrError('RTK_INTERNAL', 'the log is open already')
    const find = (): Row | undefined =>
      database.one('SELECT * FROM logs WHERE topic_id = ? AND partition = ?', id.topicId, id.partition)
    if (find() === undefined) {
      database.transaction([
        ['INSERT INTO logs (topic_id, partition) VALUES (?, ?)', id.topicId, id.partition],
      ])
    }
    const log = new SqliteLog(database, { ...this.#options, counters: this.counters }, find() as Row, () =>
      this.#open.delete(key),
    )
    this.#open.set(key, log)
    return log
  }

  async *listLogs(): AsyncGenerator<LogId, void, undefined> {
    for (const row of this.#started().all('SELECT topic_id, partition FROM logs')) {
      yield { topicId: String(row.topic_id), partition: Number(row.partition) }
    }
  }

  async deleteLog(id: LogId): Promise<void> {
    const database = this.#started()
    assertLogId(id)
    await this.#open.get(`${id.topicId}/${id.partition}`)?.close()
    const where = 'topic_id = ? AND partition = ?'
    database.transaction([
      [`DELETE FROM batches WHERE log = (SELECT id FROM logs WHERE ${where})`, id.topicId, id.partition],
      [`DELETE FROM logs WHERE ${where}`, id.topicId, id.partition],
    ])
  }

  #started(): Database {
    if (this.#database === undefined) throw closedError('the store')
    return this.#database
  }
}

class SqliteLog implements PartitionLog {
  readonly #database: Database
  readonly #counters: LogStoreTally
  readonly #checksum: Checksum
  readonly #id: number
  readonly #onClose: () => void
  #startOffset: number
  #endOffset: number
  #sizeBytes = 0
  #damaged: readonly OffsetRange[] = []
  #closed = false

  constructor(
    database: Database,
    { checksum, counters }: { readonly checksum: Checksum; readonly counters: LogStoreTally },
    row: Row,
    onClose: () => void,
  ) {
    this.#database = database
    this.#checksum = checksum
    this.#counters = counters
    this.#id = Number(row.id)
    this.#startOffset = Number(row.start_offset)
    this.#endOffset = Number(row.end_offset)
    this.#onClose = onClose
    this.#measure()
  }

  get startOffset(): number {
    return this.#startOffset
  }

  get stableOffset(): number {
    return this.#endOffset
  }

  get endOffset(): number {
    return this.#endOffset
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.#damaged.filter(({ from, to }) => to > this.#startOffset && from < this.#endOffset)
  }

  get acceptedLosses(): readonly OffsetRange[] {
    return [] // there is no tool yet to accept one
  }

  append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability): void {
    this.#assertOpen()
    assertAppendsAtEnd(baseOffset, this.#endOffset)
    assertDurability(durability, 'fsync')
    const next = baseOffset + recordCount
    this.#database.transaction([
      [
        'INSERT INTO batches VALUES (?, ?, ?, ?, ?)',
        this.#id,
        baseOffset,
        next,
        maxTimestampOf(batch),
        batch,
      ],
      ['UPDATE logs SET end_offset = ? WHERE id = ?', next, this.#id],
    ])
    this.#endOffset = next
    this.#sizeBytes += batch.length
    this.#counters.appends++
    this.#counters.syncs++
    this.#counters.appendedBytes += batch.length
  }

  read(offset: number, bytesMax: number): BatchBytes {
    this.#assertOpen()
    assertReadable(offset, this.#startOffset, this.#endOffset)
    this.#counters.coldReads++
    return joined(translated(() => this.#batchesFrom(offset, bytesMax)))
  }

  #batchesFrom(offset: number, bytesMax: number): Uint8Array[] {
    const rows = this.#database.each(
      'SELECT base_offset, next_offset, bytes FROM batches WHERE log = ? AND next_offset > ? ORDER BY base_offset',
      this.#id,
      offset,
    )
    const batches: Uint8Array[] = []
    let size = 0
    for (const row of rows) {
      const bytes = row.bytes as Uint8Array
      if (batches.length > 0 && size + bytes.length > bytesMax) break
      if (!this.#isWhole(bytes)) {
        if (batches.length > 0) break
        throw this.#lost(offset, { from: Number(row.base_offset), to: Number(row.next_offset) })
      }
      batches.push(bytes)
      size += bytes.length
    }
    return batches
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    this.#assertOpen()
    const row = this.#database.one(
      'SELECT base_offset FROM batches WHERE log = ? AND max_timestamp >= ? ORDER BY base_offset LIMIT 1',
      this.#id,
      timestampMs,
    )
    return row === undefined ? this.#endOffset : Number(row.base_offset)
  }

  async truncateBefore(offset: number): Promise<number> {
    this.#assertOpen()
    // The last batch stands for the segment that is being written: it stays.
    const row = this.#database.one(
      'SELECT max(base_offset) AS start FROM batches WHERE log = ? AND base_offset <= ?',
      this.#id,
      offset,
    )
    const start = Number(row?.start ?? this.#startOffset)
    if (start <= this.#startOffset) return this.#startOffset
    this.#database.transaction([
      ['DELETE FROM batches WHERE log = ? AND base_offset < ?', this.#id, start],
      ['UPDATE logs SET start_offset = ? WHERE id = ?', start, this.#id],
    ])
    this.#startOffset = start
    this.#measure()
    return start
  }

  async truncateAfter(offset: number): Promise<void> {
    this.#assertOpen()
    assertReadable(offset, this.#startOffset, this.#endOffset)
    const inside = 'SELECT 1 FROM batches WHERE log = ? AND base_offset < ? AND next_offset > ?'
    if (this.#database.one(inside, this.#id, offset, offset) !== undefined) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `offset ${offset} is inside a batch; give a batch's first`,
      )
    }
    this.#database.transaction([
      ['DELETE FROM batches WHERE log = ? AND base_offset >= ?', this.#id, offset],
      ['UPDATE logs SET end_offset = ? WHERE id = ?', offset, this.#id],
    ])
    this.#endOffset = offset
    this.#damaged = this.damaged
    this.#measure()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#onClose()
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError('the log')
  }

  #measure(): void {
    const row = this.#database.one('SELECT total(length(bytes)) AS size FROM batches WHERE log = ?', this.#id)
    this.#sizeBytes = Number(row?.size)
  }

  #isWhole(batch: Uint8Array): boolean {
    return this.#checksum(batch.subarray(crcStart)) === crcOf(batch)
  }

  /** Puts a damaged batch on record, and says where reading can go on. */
  #lost(offset: number, range: OffsetRange): RatatoskrError {
    const others = this.#damaged.filter(({ from }) => from !== range.from)
    this.#damaged = [...others, range].sort((a, b) => a.from - b.from)
    return new RatatoskrError(
      'RTK_STORE_CORRUPT',
      `the batch of offsets ${range.from} to ${range.to - 1} fails its checksum`,
      { details: { offset, nextOffset: range.to } },
    )
  }
}

function joined(batches: readonly Uint8Array[]): Uint8Array {
  if (batches.length === 1) return batches[0]
  const all = new Uint8Array(batches.reduce((sum, batch) => sum + batch.length, 0))
  let at = 0
  for (const batch of batches) {
    all.set(batch, at)
    at += batch.length
  }
  return all
}
