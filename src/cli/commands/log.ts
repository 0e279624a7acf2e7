/** `ratatoskr log dump` and `log verify`: look into files, whether a broker runs or not. */

import {
  attributesOf,
  baseOffsetOf,
  batchSizeOf,
  compressionOf,
  crcOf,
  leaderEpochOf,
  maxTimestampOf,
  messagesOf,
  messageToJson,
  producerIdOf,
  recordCountOf,
} from '../../ports/index.ts'
import { exitCodes } from '../exit-codes.ts'
import { type OutputFormat, Progress, printRows, write } from '../output.ts'

const expandedBytesMax = 64 * 1024 * 1024

export async function dumpLog(file: string, { headers = false }: { headers?: boolean }): Promise<void> {
  const { inspectSegment } = await import('ratatoskr/adapters/disk')
  const { nodePlatform } = await import('ratatoskr/adapters/node')
  const { checksum, compression } = nodePlatform()
  const lines: string[] = []
  const source = {
    topic: '',
    topicId: '00000000-0000-0000-0000-000000000000',
    partition: 0,
    expansion: { codecs: compression, bytesMax: expandedBytesMax },
  }
  const report = await inspectSegment(file, checksum, (bytes, at, position) => {
    if (headers) {
      lines.push(JSON.stringify(headerOf(bytes, at, position)))
      return
    }
    const batch = bytes.subarray(at, at + batchSizeOf(bytes, at))
    for (const message of messagesOf(batch, source)) {
      const { topic: _, partition: __, ...fields } = messageToJson(message, 'base64')
      lines.push(JSON.stringify(fields))
    }
  })
  for (const line of lines) await write(process.stdout, `${line}\n`)
  if (report.state === 'ok') return
  process.stderr.write(
    `ratatoskr: at byte ${report.position}, offset ${report.offset}: ${report.problem} (${report.state})\n`,
  )
  process.exitCode = exitCodes.failure
}

const headerOf = (bytes: Uint8Array, at: number, position: number) => ({
  position,
  baseOffset: baseOffsetOf(bytes, at),
  records: recordCountOf(bytes, at),
  sizeBytes: batchSizeOf(bytes, at),
  leaderEpoch: leaderEpochOf(bytes, at),
  crc: crcOf(bytes, at),
  attributes: attributesOf(bytes, at),
  compression: compressionOf(bytes, at),
  maxTimestamp: maxTimestampOf(bytes, at),
  producerId: producerIdOf(bytes, at),
})

const advice = {
  ok: '',
  torn: 'start the broker: it cuts the half-written end off; nothing acknowledged is in it',
  damaged: 'keep the file; do not start the broker on it before you have a copy',
} as const

export async function verifyLogs(directory: string, { output }: { output: OutputFormat }): Promise<void> {
  const { verifyDataDirectory } = await import('ratatoskr/adapters/disk')
  const { nodePlatform } = await import('ratatoskr/adapters/node')
  const progress = new Progress('log verify')
  const reports: object[] = []
  let worst = false
  for await (const report of verifyDataDirectory(directory, nodePlatform().checksum)) {
    reports.push({ ...report, advice: advice[report.state] })
    worst ||= report.state === 'damaged'
    progress.update(`${reports.length} files`)
  }
  progress.finish(`${reports.length} files checked, ${worst ? 'damage found' : 'no damage'}`)
  await printRows(reports, ['file', 'batches', 'records', 'sizeBytes', 'state', 'problem', 'advice'], output)
  if (worst) process.exitCode = exitCodes.failure
}
