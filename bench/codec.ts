/**
 * How fast the record batch codec is, on its own: records a second for building, checking and reading batches of 1,000
 * records with 100-byte payloads. Prints one JSON object.
 *
 *     node --conditions=source bench/codec.ts [payloadBytes] [recordsPerBatch]
 *
 * Each number is the median of several rounds, the cases taking turns, so that a busy machine hurts all alike.
 */
import { nodePlatform } from 'ratatoskr/adapters/node'
import {
  BatchBuilder,
  type BatchRules,
  defaultLimits,
  messagesOf,
  portableCrc32c,
  RecordCursor,
  utf8,
  verifyBatch,
} from 'ratatoskr/ports'

const payloadBytes = Number(process.argv[2] ?? 100)
const recordsPerBatch = Number(process.argv[3] ?? 1_000)
const rounds = 9
const roundMs = 150

const { checksum, compression } = nodePlatform()
const payload = new Uint8Array(payloadBytes).fill(0x61)
const key = utf8('customer-7')
const id = new Uint8Array(16).fill(7)
const headers = [['trace', utf8('00-4bf92f3577b34da6')]] as const
const timestampMs = Date.UTC(2025, 0, 1)

const build = (fields: object): Uint8Array => {
  const builder = new BatchBuilder({ checksum })
  for (let i = 0; i < recordsPerBatch; i++) {
    builder.add({ payload, timestampMs: timestampMs + (i >> 4), ...fields })
  }
  return builder.build()
}
const plain = build({})
const withId = build({ id })
const full = build({ key, id, headers })

const rules: BatchRules = { ...defaultLimits, checksum, records: undefined }
const walking: BatchRules = {
  ...rules,
  records: { codecs: compression, bytesMax: defaultLimits.expandedBatchBytesMax },
}
const unchecked: BatchRules = { ...walking, checksum: (bytes) => crcOf.get(bytes.length) as number }
const crcOf = new Map([plain, withId, full].map((batch) => [batch.length - 21, checksum(batch.subarray(21))]))
const source = {
  topic: 'orders',
  topicId: '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11',
  partition: 0,
  expansion: { codecs: compression, bytesMax: defaultLimits.expandedBatchBytesMax },
}

const builder = new BatchBuilder({ checksum, initialBytes: 256 * 1024 })
const record = { payload, timestampMs }
const recordWithId = { payload, timestampMs, id }
const fullRecord = { payload, timestampMs, key, id, headers }
const cursor = new RecordCursor()
let sink = 0

const addAll = (fields: typeof record): void => {
  for (let i = 0; i < recordsPerBatch; i++) builder.add(fields)
  sink += builder.build()[17]
}
const walk = (batch: Uint8Array): void => {
  cursor.open(batch)
  while (cursor.next()) sink += cursor.valueEnd - cursor.valueStart
}

const cases: Readonly<Record<string, () => void>> = {
  'build: payload only': () => addAll(record),
  'build: payload and id': () => addAll(recordWithId),
  'build: key, id and header': () => addAll(fullRecord),
  'verify: header and CRC': () => void (sink += verifyBatch(plain, rules)),
  'verify: records too': () => void (sink += verifyBatch(plain, walking)),
  'verify: records without the CRC': () => void (sink += verifyBatch(plain, unchecked)),
  'verify: records with id, without the CRC': () => void (sink += verifyBatch(withId, unchecked)),
  'verify: records with key, id and header, without the CRC': () =>
    void (sink += verifyBatch(full, unchecked)),
  'cursor: value lengths': () => walk(plain),
  'cursor: value lengths, records with key, id and header': () => walk(full),
  'messagesOf: payload': () => {
    for (const message of messagesOf(plain, source)) sink += message.payload.length
  },
  'messagesOf: all fields': () => {
    for (const message of messagesOf(full, source)) sink += message.id.length + message.headers.length
  },
  'checksum: native': () => void (sink += checksum(plain)),
  'checksum: portable': () => void (sink += portableCrc32c(plain)),
}

/** Records a second. */
function measure(run: () => void): number {
  const begin = performance.now()
  let runs = 0
  let elapsedMs = 0
  do {
    run()
    runs++
    elapsedMs = performance.now() - begin
  } while (elapsedMs < roundMs)
  return (runs * recordsPerBatch * 1_000) / elapsedMs
}

const results = new Map<string, number[]>(Object.keys(cases).map((name) => [name, []]))
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(cases)) {
    const rate = measure(run)
    if (round > 0) results.get(name)?.push(rate)
  }
}
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]
const millionRecordsPerSecond = Object.fromEntries(
  Array.from(results, ([name, rates]) => [name, Number((median(rates) / 1e6).toFixed(2))]),
)
console.log(
  JSON.stringify(
    { node: process.version, payloadBytes, recordsPerBatch, millionRecordsPerSecond, sink: sink % 10 },
    null,
    2,
  ),
)
