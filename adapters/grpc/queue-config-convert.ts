/** Between the settings of queue groups as messages and as plain data, for the server's side. */
import type { QueueConfig, RetryPolicy, Sharing } from 'ratatoskr/ports'
import { RatatoskrError, sharings } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'

const sharingNumbers = {
  partitioned: proto.Sharing.SHARING_PARTITIONED,
  shared: proto.Sharing.SHARING_SHARED,
  keyShared: proto.Sharing.SHARING_KEY_SHARED,
} as const satisfies Record<Sharing, proto.Sharing>

/** Only the settings that are set; undefined without any message. @throws RTK_INVALID_ARGUMENT */
export function queueConfigFromProto(
  config: proto.QueueConfig | undefined,
): Partial<QueueConfig> | undefined {
  if (config === undefined) return undefined
  const { sharing, retry, ...rest } = config
  const set = Object.entries(rest).filter(([, value]) => value !== undefined)
  return {
    ...(Object.fromEntries(set) as Partial<QueueConfig>),
    ...(sharing !== proto.Sharing.SHARING_UNSPECIFIED && { sharing: sharingFromProto(sharing) }),
    ...(retry !== undefined && { retry: retryFromProto(retry) }),
  }
}

function sharingFromProto(value: proto.Sharing): Sharing {
  const sharing = sharings.find((one) => sharingNumbers[one] === value)
  if (sharing !== undefined) return sharing
  throw invalid(`sharing must be 0 to 3 (see ratatoskr.v1.Sharing), got ${value}`)
}

function retryFromProto({ fixed, linear, exponential, list }: proto.RetryPolicy): RetryPolicy {
  if (fixed !== undefined) return { kind: 'fixed', ...fixed }
  if (linear !== undefined) return { kind: 'linear', ...linear }
  if (exponential !== undefined) return { kind: 'exponential', ...exponential }
  if (list !== undefined) return { kind: 'list', ...list }
  throw invalid('retry must be one of fixed, linear, exponential and list; leave it out for the default')
}

export const queueConfigToProto = ({ sharing, retry, ...rest }: Partial<QueueConfig>): proto.QueueConfig => ({
  ...rest,
  sharing: sharing === undefined ? proto.Sharing.SHARING_UNSPECIFIED : sharingNumbers[sharing],
  retry: retry && retryToProto(retry),
})

function retryToProto(retry: RetryPolicy): proto.RetryPolicy {
  switch (retry.kind) {
    case 'fixed':
      return { fixed: { delayMs: retry.delayMs } }
    case 'linear':
      return { linear: { delayMs: retry.delayMs, maxMs: retry.maxMs } }
    case 'exponential':
      return { exponential: { delayMs: retry.delayMs, maxMs: retry.maxMs, jitter: retry.jitter } }
    case 'list':
      return { list: { delaysMs: [...retry.delaysMs] } }
  }
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)
