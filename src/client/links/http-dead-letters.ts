/** Dead letters over HTTP. */
import {
  type CallOptions,
  type DeadLetterPage,
  type DeadLetterRequest,
  deadLetterRequestToJson,
  letterFromJson,
  type PurgeRequest,
  type PurgeResult,
  type RedriveRequest,
  type RedriveResult,
  toBase64,
} from '../../ports/index.ts'
import type { HttpCalls } from './http-calls.ts'

export async function listOverHttp(
  http: HttpCalls,
  topicPath: string,
  { key, ids, offsets, ...request }: DeadLetterRequest = {},
  call?: CallOptions,
): Promise<DeadLetterPage> {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(request)) if (value !== undefined) query.set(name, String(value))
  if (key !== undefined) query.set('keyBase64', toBase64(key))
  if (ids !== undefined) query.set('ids', ids.join())
  if (offsets !== undefined) query.set('offsets', offsets.join())
  const path = `${topicPath}/dead-letters?${query}`
  const page = await http.json<DeadLetterPage>('GET', path, undefined, call?.signal)
  return { ...page, letters: page.letters.map((letter) => letterFromJson(letter)) }
}

export const redriveOverHttp = (
  http: HttpCalls,
  topicPath: string,
  request: RedriveRequest = {},
  call?: CallOptions,
): Promise<RedriveResult> =>
  http.json('POST', `${topicPath}/dead-letters/redrive`, deadLetterRequestToJson(request), call?.signal)

export const purgeOverHttp = (
  http: HttpCalls,
  topicPath: string,
  request: PurgeRequest = {},
  call?: CallOptions,
): Promise<PurgeResult> =>
  http.json('POST', `${topicPath}/dead-letters/purge`, deadLetterRequestToJson(request), call?.signal)
