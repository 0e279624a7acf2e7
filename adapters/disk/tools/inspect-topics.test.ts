/** What a check says of logs that end before what groups have come to: nothing else tells of it after a crash. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { utf8 } from 'ratatoskr/ports'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { diskStorage, verifyDataDirectory } from '../index.ts'
import { makeDirectory } from '../testing/setups.ts'

const topicId = '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa'
const platform = nodePlatform({ logger: silentLogger })

let directory: string
beforeEach(async () => {
  directory = await makeDirectory()
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** A log of four records, and what else is in the state. */
async function written(entries: Readonly<Record<string, unknown>>, partition = 0): Promise<void> {
  const { logs, state } = diskStorage({ directory }).open(platform)
  await state.start()
  await state.put('topics/default/orders', utf8(JSON.stringify({ id: topicId })))
  for (const [key, value] of Object.entries(entries)) {
    await state.put(key, value instanceof Uint8Array ? value : utf8(JSON.stringify(value)))
  }
  await logs.start()
  const log = await logs.openLog({ topicId, partition }, { segmentBytes: 500 })
  await log.append(sampleBatch({ baseOffset: 0, count: 4, payloadBytes: 30 }), 0, 4, 'fsync')
  await logs.stop()
  await state.stop()
}

/** Everything but what is in order, after a stop in order or after a crash. */
async function told(hasNote: boolean): Promise<string[]> {
  if (!hasNote) await rm(join(directory, 'clean'))
  const lines: string[] = []
  for await (const { severity, file, state, problem } of verifyDataDirectory(directory, platform.checksum))
    if (severity !== 'ok') lines.push(`${severity} ${file} ${state}: ${problem}`)
  return lines
}

it('tells of the group that has committed most, behind the end of a log', async () => {
  await written({
    [`groups/${topicId}/a/0`]: { offset: 4 },
    [`groups/${topicId}/b/0`]: { offset: 9 },
    [`groups/${topicId}/c/0`]: { offset: 7 },
  })
  expect(await told(false)).toEqual([
    `warning logs/${topicId}/0 behind: the log ends at offset 4, and group "b" had come to 9: the records between are lost`,
  ])
})

it('tells of a queue group, which stores more than an offset', async () => {
  // A version, then the offset up to which everything is settled, 300, then whatever else there is.
  await written(
    { [`queues/${topicId}/q/10`]: Uint8Array.of(1, 0xac, 2, 9, 9), [`queues/${topicId}/q`]: {} },
    10,
  )
  expect(await told(false)).toEqual([
    `warning logs/${topicId}/10 behind: the log ends at offset 4, and group "q" had come to 300: the records between are lost`,
  ])
})

it.each([
  ['of groups that are at the end', { [`groups/${topicId}/a/0`]: { offset: 4 } }, false],
  ['of other partitions', { [`groups/${topicId}/a/1`]: { offset: 9 } }, false],
  [
    'of entries that it cannot read',
    {
      [`groups/${topicId}/a/0`]: { offset: '9' },
      [`groups/${topicId}/b/0`]: utf8('{'),
      [`queues/${topicId}/q/0`]: Uint8Array.of(2, 9, 9),
      [`queues/${topicId}/r/0`]: Uint8Array.of(1, 0xff, 0xff),
    },
    false,
  ],
  // The note knows where the log ended: a group was put there on purpose.
  ['after a stop in order', { [`groups/${topicId}/a/0`]: { offset: 9 } }, true],
])('says nothing %s', async (_, entries, hasNote) => {
  await written(entries)
  expect(await told(hasNote)).toEqual([])
})
