/** How many workers wrote a data directory, by its files, and what is refused. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { assertWorkers, noteWorkers, workersOf } from './worker-directories.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-worker-directories-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const made = (...folders: string[]): Promise<unknown> =>
  Promise.all(folders.map((folder) => mkdir(join(directory, folder), { recursive: true })))
const counted = (text: string): Promise<void> => writeFile(join(directory, 'workers', 'count'), text)

it('takes any number for a new directory, and only its own for another', async () => {
  expect(await workersOf(directory)).toEqual({ count: undefined })
  expect(await workersOf(join(directory, 'nowhere'))).toEqual({ count: undefined })
  await noteWorkers(directory, 3)
  await noteWorkers(directory, 3)
  expect([await readdir(join(directory, 'workers')), await workersOf(directory)]).toEqual([
    ['count'],
    { count: 3 },
  ])
  await noteWorkers(directory, 2)
  expect(await readFile(join(directory, 'workers', 'count'), 'utf8')).toBe('2\n')
  await assertWorkers(directory, 2)
  await expect(assertWorkers(directory, 1)).rejects.toMatchObject({
    code: 'RTK_CONFIG_INVALID',
    message: expect.stringContaining('start with workers 2'),
  })
})

it('was written by one when it has logs and nothing of workers', async () => {
  await made('logs/topic', 'workers/1/logs', 'workers/notes')
  expect(await workersOf(directory)).toEqual({ count: 1 })
})

it.each([
  ['missing', undefined, 'is missing'],
  ['empty', '', 'holds no number'],
  ['no number', 'two', 'holds no number'],
  ['more than there may be', '65', 'holds no number'],
])('is refused with any number when others have logs and the count is %s', async (_, text, why) => {
  await made('logs/topic', 'workers/1/logs/topic', 'workers/2/logs/topic')
  if (text !== undefined) await counted(text)
  for (const workers of [1, 3]) {
    await expect(assertWorkers(directory, workers)).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringMatching(new RegExp(`${why}.*workers/2.*put it back.*their number, 3 if`)),
    })
  }
})

it('is refused when the count cannot be read, also where only the first has logs', async () => {
  await made('logs/topic', 'workers/count')
  await expect(assertWorkers(directory, 1)).rejects.toMatchObject({
    code: 'RTK_CONFIG_INVALID',
    message: expect.stringContaining('cannot be read'),
  })
})

it.each(['1\n', '2'])('is refused when more have logs than the %s that the count says', async (text) => {
  await made('workers/2/logs/topic')
  await counted(text)
  await expect(assertWorkers(directory, Number(text))).rejects.toMatchObject({
    code: 'RTK_CONFIG_INVALID',
    message: expect.stringContaining('workers/2 holds logs of another one'),
  })
})
