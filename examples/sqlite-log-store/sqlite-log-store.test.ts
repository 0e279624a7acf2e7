import { cp, mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { crc32c, type LogStoreContext, logStoreContract } from 'ratatoskr/contract-tests'
import type { LogStore } from 'ratatoskr/ports'
import { SqliteLogStore } from './sqlite-log-store.ts'

async function setup(): Promise<LogStoreContext> {
  const directories: string[] = []
  const stores: LogStore[] = []

  async function makeDirectory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-sqlite-'))
    directories.push(directory)
    return directory
  }

  function open(directory: string, pagesMax?: number): LogStore {
    const path = join(directory, 'logs.sqlite')
    const store = new SqliteLogStore({ path, checksum: crc32c, ...(pagesMax !== undefined && { pagesMax }) })
    stores.push(store)
    return store
  }

  let directory = await makeDirectory()

  /** What a killed process leaves is what the kernel has of its files: a copy of them. */
  async function crash(
    damage: (directory: string) => Promise<void> = async () => undefined,
  ): Promise<LogStore> {
    const copy = await makeDirectory()
    for (const name of await readdir(directory)) {
      if (!name.endsWith('-shm')) await cp(join(directory, name), join(copy, name))
    }
    await damage(copy)
    directory = copy
    const store = open(directory)
    await store.start()
    return store
  }

  return {
    subject: open(directory),
    crash: () => crash(),
    async reopen() {
      await stores.at(-1)?.stop()
      const store = open(directory)
      await store.start()
      return store
    },
    // The last transaction is at the end of the write-ahead log.
    tearLastBatch: () =>
      crash(async (copy) => {
        const path = join(copy, 'logs.sqlite-wal')
        await truncate(path, (await stat(path)).size - 7)
      }),
    // Changes a byte of the records in the row, as a medium that loses bits would.
    damageBatch: ({ topicId, partition }, offset) =>
      crash(async (copy) => {
        const database = new DatabaseSync(join(copy, 'logs.sqlite'))
        const where = `log = (SELECT id FROM logs WHERE topic_id = ? AND partition = ?)
          AND base_offset <= ? AND next_offset > ?`
        const place = [topicId, partition, offset, offset]
        const row = database.prepare(`SELECT bytes FROM batches WHERE ${where}`).get(...place)
        const bytes = row?.bytes as Uint8Array
        bytes[bytes.length - 1] ^= 1
        database.prepare(`UPDATE batches SET bytes = ? WHERE ${where}`).run(bytes, ...place)
        database.close()
      }),
    async bounded(bytesMax) {
      const store = open(await makeDirectory(), Math.ceil(bytesMax / 4096))
      await store.start()
      return store
    },
    async teardown() {
      for (const store of stores) await store.stop()
      for (const one of directories) await rm(one, { recursive: true, force: true })
    },
  }
}

logStoreContract('sqlite', setup)
