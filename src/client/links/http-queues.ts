/** Queue groups over HTTP: what polling members do, and the settings of groups. */
import {
  type CallOptions,
  decodeFrame,
  type LeasedBatch,
  parseJson,
  type QueueConfig,
  type QueueDescription,
  RatatoskrError,
  type SettleRequest,
  type SettleResult,
  type StartPosition,
  settleResultsFromJson,
  type Taken,
  type TakeRequest,
} from '../../ports/index.ts'
import { FrameReader } from './frame-reader.ts'
import { type HttpCalls, jsonDepthMax } from './http-calls.ts'
import { frameContentType } from './http-frames.ts'

// `fetch` of Node gives up on headers that take 5 minutes: a longer wait comes back empty before that.
const waitMsMax = 240_000

export async function takeOverHttp(
  http: HttpCalls,
  groupPath: string,
  { group: _group, messagesMax: limit, waitMs, ...request }: TakeRequest,
  { signal }: CallOptions = {},
): Promise<Taken> {
  const body = { ...request, limit, waitMs: waitMs === undefined ? undefined : Math.min(waitMs, waitMsMax) }
  const response = await http.send('POST', `${groupPath}/take`, {
    body: JSON.stringify(body),
    headers: { accept: frameContentType, 'content-type': 'application/json' },
    signal: signal ?? null,
  })
  const reader = new FrameReader(response.body as ReadableStream<Uint8Array>, http.frameBytesMax)
  try {
    const first = await reader.next()
    if (first === undefined) throw malformed('the broker did not say who took the messages')
    const { topicId, member, memberTimeoutMs } = parseJson(first, { depthMax: jsonDepthMax }) as Taken
    return { topicId, member, memberTimeoutMs, batches: await batchesOf(reader) }
  } catch (error) {
    throw error instanceof RatatoskrError ? error : http.lost(error, signal)
  }
}

async function batchesOf(reader: FrameReader): Promise<LeasedBatch[]> {
  const batches: LeasedBatch[] = []
  for (let bytes = await reader.next(); bytes !== undefined; bytes = await reader.next()) {
    const frame = decodeFrame(bytes)
    if (frame.kind !== 'leased') throw malformed(`a frame of kind ${frame.kind} came from a queue group`)
    const { kind: _kind, id: _id, ...batch } = frame
    batches.push(batch)
  }
  return batches
}

export async function settleOverHttp(
  http: HttpCalls,
  groupPath: string,
  { member, settlements }: SettleRequest,
): Promise<readonly SettleResult[]> {
  const reply = await http.json<{ results?: unknown }>('POST', `${groupPath}/settle`, { member, settlements })
  return settleResultsFromJson(reply.results, settlements.length)
}

export const createOverHttp = (
  http: HttpCalls,
  groupPath: string,
  config: Partial<QueueConfig> = {},
  from?: StartPosition,
): Promise<QueueDescription> => http.json('PUT', groupPath, { ...config, from })

const malformed = (message: string): RatatoskrError => new RatatoskrError('RTK_FRAME_MALFORMED', message)
