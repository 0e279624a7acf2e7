/** Messages to publish, and what became of them, as JSON: for clients of the protocols that speak it. */

import type { RatatoskrError } from '../errors.ts'
import type { OutgoingMessage } from '../message.ts'
import { toBase64 } from './base64.ts'
import { bytesToJson, errorFromJson, headersToJson } from './message-json.ts'

/** The JSON form that `messageFromJson` reads, its payload in base64. */
export function outgoingToJson(message: OutgoingMessage): Readonly<Record<string, unknown>> {
  const { payload, key, headers, timestampMs, ...rest } = message
  return {
    ...rest,
    payload: toBase64(payload),
    ...(key !== undefined && { key: bytesToJson(key) }),
    ...(headers !== undefined && { headers: headersToJson(headers) }),
    ...(timestampMs !== undefined && { timestamp: timestampMs }),
  }
}

/** What became of one message of many. */
export function publishResultFromJson<Receipt extends object>(
  result: Receipt | { readonly error: unknown },
): Receipt | { readonly error: RatatoskrError } {
  return 'error' in result ? { error: errorFromJson(result.error) } : result
}
