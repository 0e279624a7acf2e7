import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { makeDirectory } from '../testing/setups.ts'
import { affordableFiles, descriptorLimit } from './descriptor-limit.ts'

it('reads the limit of the process, and takes at most half of what is left', () => {
  expect(
    descriptorLimit('Limit   Soft Limit   Hard Limit\nMax open files            1024   4096   files\n'),
  ).toBe(1024)
  expect(descriptorLimit('')).toBe(Number.POSITIVE_INFINITY)
  expect([1_048_576, 1_024, 128, 64, 16].map((limit) => affordableFiles(512, limit))).toEqual([
    512, 488, 40, 8, 4,
  ])
  expect(affordableFiles(2, Number.POSITIVE_INFINITY)).toBe(4)
})

const script = `
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
const lines = []
const logger = { debug() {}, warn() {}, error() {}, info: (message) => lines.push(message), child: () => logger }
const { logs, state } = diskStorage({ directory: process.argv[1] }).open(nodePlatform({ logger }))
await state.start()
await logs.start()
const topicId = '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa'
const open = await Promise.all(Array.from({ length: 100 }, (_, partition) => logs.openLog({ topicId, partition }, { segmentBytes: 1024 })))
for (let round = 0; round < 3; round++)
  await Promise.all(open.map((log) => log.append(sampleBatch({ baseOffset: round, count: 1, payloadBytes: 600 }), round, 1, 'fsync')))
console.log(open.reduce((sum, { endOffset }) => sum + endOffset, 0), lines.filter((line) => line.includes('descriptors')).length)
await logs.stop()
await state.stop()
`

it.runIf(process.platform === 'linux')(
  'a hundred logs are written where 64 descriptors are allowed',
  async () => {
    const directory = await makeDirectory()
    const command = `ulimit -n 64; exec "$0" --conditions=source --input-type=module -e "$1" "$2"`
    const out = execFileSync('bash', ['-c', command, process.execPath, script, directory], {
      encoding: 'utf8',
    })
    expect(out.trim()).toBe('300 1')
    await rm(directory, { recursive: true })
  },
)
