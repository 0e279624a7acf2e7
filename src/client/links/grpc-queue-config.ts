/** Between the settings of queue groups as plain data and as messages, for the client's side. */
import * as proto from '../../../proto/index.ts'
import { queueConfigFields } from '../../domain/queue/queue-config-rules.ts'
import {
  type QueueConfig,
  quoteForMessage,
  RatatoskrError,
  type RetryPolicy,
  type Sharing,
  sharings,
} from '../../ports/index.ts'

const sharingNumbers = {
  partitioned: proto.Sharing.SHARING_PARTITIONED,
  shared: proto.Sharing.SHARING_SHARED,
  keyShared: proto.Sharing.SHARING_KEY_SHARED,
} as const satisfies Record<Sharing, proto.Sharing>

/** The settings that a queue group has, as the message has them. */
const settingNames = [
  'ackTimeoutMs',
  'retriesMax',
  'deadLetterTopic',
  'deadLetterRetentionMs',
  'deadLetterExpired',
  'inFlightMax',
  'checkpointIntervalMs',
  'groupExpiryMs',
] as const satisfies readonly (keyof proto.QueueConfig)[]

/** @throws RTK_INVALID_ARGUMENT for settings and words that do not exist, which would be lost on the way without a word */
export function queueConfigToProto(config: Partial<QueueConfig>): proto.QueueConfig {
  const message: proto.QueueConfig = {
    sharing: sharingToProto(config.sharing),
    retry: config.retry === undefined ? undefined : retryToProto(config.retry),
  }
  for (const [name, value] of Object.entries(config)) {
    if (name === 'sharing' || name === 'retry') continue
    if (!(settingNames as readonly string[]).includes(name)) {
      const known = ['sharing', 'retry', ...settingNames].join(', ')
      throw invalid(`${quoteForMessage(name)} is no setting of a queue group; they are ${known}`)
    }
    Object.assign(message, { [name]: value })
  }
  return message
}

function sharingToProto(sharing: Sharing | undefined): proto.Sharing {
  if (sharing === undefined) return proto.Sharing.SHARING_UNSPECIFIED
  if (sharings.includes(sharing)) return sharingNumbers[sharing]
  throw invalid(`sharing must be one of ${sharings.join(', ')}, got ${quoteForMessage(sharing)}`)
}

function retryToProto(retry: RetryPolicy): proto.RetryPolicy {
  switch (retry.kind) {
    case 'fixed':
      return { fixed: retry }
    case 'linear':
      return { linear: retry }
    case 'exponential':
      return { exponential: retry }
    case 'list':
      return { list: { delaysMs: [...retry.delaysMs] } }
    default:
      throw invalid('retry must be a policy of kind fixed, linear, exponential or list')
  }
}

/** @throws RTK_FRAME_MALFORMED when something is missing */
export function queueConfigFromProto(config: proto.QueueConfig | undefined): QueueConfig {
  if (config === undefined) throw malformed('the broker described a queue group without its settings')
  const settings = queueSettingsFromProto(config)
  const missing = queueConfigFields.find((name) => settings[name] === undefined)
  if (missing === undefined) return settings as QueueConfig
  throw malformed(`the broker described a queue group without ${missing}`)
}

/** Only the settings that are set. @throws RTK_FRAME_MALFORMED */
export function queueSettingsFromProto(config: proto.QueueConfig): Partial<QueueConfig> {
  const set = settingNames.map((name) => [name, config[name]]).filter(([, value]) => value !== undefined)
  const { sharing, retry } = config
  return {
    ...Object.fromEntries(set),
    ...(sharing !== proto.Sharing.SHARING_UNSPECIFIED && { sharing: sharingFromProto(sharing) }),
    ...(retry !== undefined && { retry: retryFromProto(retry) }),
  }
}

function sharingFromProto(value: proto.Sharing): Sharing {
  const sharing = sharings.find((one) => sharingNumbers[one] === value)
  if (sharing !== undefined) return sharing
  throw malformed(`the broker named sharing ${value}`)
}

function retryFromProto(retry: proto.RetryPolicy): RetryPolicy {
  const { fixed, linear, exponential, list } = retry
  if (fixed !== undefined) return { kind: 'fixed', ...fixed }
  if (linear !== undefined) return { kind: 'linear', ...linear }
  if (exponential !== undefined) return { kind: 'exponential', ...exponential }
  if (list !== undefined) return { kind: 'list', ...list }
  throw malformed('the broker named a retry policy that this client does not know')
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

const malformed = (message: string): RatatoskrError => new RatatoskrError('RTK_FRAME_MALFORMED', message)
