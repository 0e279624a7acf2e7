/**
 * Every number of every request, told to be one that it cannot be: the answer is INVALID_ARGUMENT, and names the field and what it
 * may hold. The table is made of the descriptors, so that a new field is in it from its first day.
 */

import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  type DescMethod,
  fromBinary,
  ScalarType,
} from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import type { Client, ServiceError } from '@grpc/grpc-js'
import * as proto from 'ratatoskr/proto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { message as outgoing } from './testing/bare-calls.ts'
import { call, Harness, rawStream } from './testing/harness.ts'

interface Case {
  readonly method: DescMethod
  /** From the request down to the number. */
  readonly fields: readonly DescField[]
}

const file = Object.values(proto.descriptors).map((text) =>
  fromBinary(FileDescriptorProtoSchema, Buffer.from(text, 'base64')),
)
// Files come after those that they import.
file.sort((a, b) => a.dependency.length - b.dependency.length)
const methods = [...createFileRegistry(create(FileDescriptorSetSchema, { file }))]
  .filter((desc) => desc.kind === 'service')
  .filter(({ typeName }) => typeName.startsWith('ratatoskr.v1.'))
  .flatMap((service) => service.methods)

const messageOf = (field: DescField): DescMessage | undefined =>
  field.fieldKind === 'message' || field.fieldKind === 'list' ? field.message : undefined

function numbersOf(message: DescMessage, above: readonly DescField[] = []): (readonly DescField[])[] {
  return message.fields.flatMap((field) => {
    const inner = messageOf(field)
    if (inner !== undefined) return numbersOf(inner, [...above, field])
    const isNumber = field.scalar === ScalarType.INT64 || field.scalar === ScalarType.UINT64
    return isNumber ? [[...above, field]] : []
  })
}

const cases: Case[] = methods.flatMap((method) =>
  numbersOf(method.input).map((fields) => ({ method, fields })),
)
const titled = cases.map((one): [string, Case] => [`${one.method.name} ${placeOf(one)}`, one])

function placeOf({ fields }: Case): string {
  return fields.map(({ localName }) => localName).join('.')
}

/** What a request and the messages in it need beside the number for nothing else to be wrong with them. */
const texts: Readonly<Record<string, string>> = { topic: 'orders', target: 'orders' }
const words: Readonly<Record<string, number>> = { action: 1, policy: 2 }

const nothing = new Uint8Array(0)
let groups = 0

/** The bytes of a message that holds the number in one of its fields. */
function bytesOf(message: DescMessage, [field, ...below]: readonly DescField[], value: bigint): Uint8Array {
  const writer = new BinaryWriter()
  for (const { localName, number, scalar, fieldKind } of message.fields) {
    const text = localName === 'group' ? groupOf(message) : texts[localName]
    if (scalar === ScalarType.STRING && text !== undefined) {
      writer.tag(number, WireType.LengthDelimited).string(text)
    } else if (fieldKind === 'enum' && localName in words) {
      writer.tag(number, WireType.Varint).int32(words[localName])
    }
  }
  const payload = message.fields.find(({ localName }) => localName === 'message')
  if (payload !== undefined && payload !== field)
    writer.tag(payload.number, WireType.LengthDelimited).bytes(nothing)
  const inner = messageOf(field)
  if (inner === undefined) return writer.tag(field.number, WireType.Varint).int64(value).finish()
  return writer
    .tag(field.number, WireType.LengthDelimited)
    .bytes(bytesOf(inner, below, value))
    .finish()
}

/** Where a group begins is looked at when it is new. */
const groupOf = ({ typeName, fields }: DescMessage): string =>
  fields.some(({ localName }) => localName === 'from')
    ? `new-${groups++}`
    : /Queue|Settle|Take|Leases|Proof/.test(typeName)
      ? 'q'
      : 's'

let harness: Harness
let client: Client

beforeAll(async () => {
  harness = await Harness.start()
  client = harness.client()
  await call(client, proto.TopicServiceService.createTopic, { topic: 'orders', config: undefined })
  await call(client, proto.MessageServiceService.publish, {
    topic: 'orders',
    message: outgoing('m'),
    durability: 0,
  })
  await call(client, proto.QueueServiceService.createQueue, {
    topic: 'orders',
    group: 'q',
    config: undefined,
    from: undefined,
  })
})

afterAll(() => harness.stop())

const asIs = (bytes: Buffer): Buffer => bytes
/** Opens a stream of `Consume`, as a subscriber or a member. */
const fresh = { member: '', from: undefined, credit: undefined, format: 0 } as const
const opening: Readonly<Record<string, Uint8Array>> = {
  'ratatoskr.v1.ConsumeRequest': proto.ConsumeRequest.encode({
    open: { ...fresh, topic: 'orders', group: 's', partitions: [], overflow: undefined },
  }).finish(),
  'ratatoskr.v1.QueueServiceConsumeRequest': proto.QueueServiceConsumeRequest.encode({
    open: { ...fresh, topic: 'orders', group: 'q', config: undefined, autoAck: false, begins: false },
  }).finish(),
}

/** The error that a request is answered with, by the end of its call or in a response; undefined when all is well. */
function refusal({ method, fields: [field] }: Case, request: Uint8Array): Promise<proto.Error | undefined> {
  const path = `/${method.parent.typeName}/${method.name}`
  return new Promise((resolve) => {
    const ended = (error: ServiceError): void =>
      resolve(proto.Error.decode(error.metadata.get('ratatoskr-error-bin')[0] as Buffer))
    if (method.methodKind === 'unary') {
      client.makeUnaryRequest(path, asIs, asIs, Buffer.from(request), (error, response) =>
        error === null ? resolve(errorIn(method.output, response as Buffer)) : ended(error),
      )
      return
    }
    const stream = rawStream(client, path)
    stream.on('data', (bytes: Buffer) => {
      const error = errorIn(method.output, bytes)
      if (error !== undefined) resolve(error)
    })
    stream.once('error', (error) => ended(error as ServiceError))
    stream.once('end', () => resolve(undefined))
    if (method.input.typeName in opening && field.localName !== 'open') {
      stream.write(Buffer.from(opening[method.input.typeName]))
    }
    stream.end(Buffer.from(request))
  })
}

/** What of the responses may hold an error. */
function errorIn({ typeName }: DescMessage, bytes: Buffer): proto.Error | undefined {
  if (typeName.endsWith('.PublishBatchResponse'))
    return proto.PublishBatchResponse.decode(bytes).results[0].error
  if (typeName.endsWith('.ProduceResponse')) return proto.ProduceResponse.decode(bytes).error
  if (typeName.endsWith('.ConsumeResponse')) return proto.ConsumeResponse.decode(bytes).committed?.error
  if (!typeName.endsWith('.QueueServiceConsumeResponse')) return undefined
  const { settled } = proto.QueueServiceConsumeResponse.decode(bytes)
  return settled?.error ?? settled?.results[0]?.error
}

describe('numbers on the wire', () => {
  it('there are as many as there were', () => expect(cases.length).toBeGreaterThan(60))

  it.each(titled)('%s: what is no exact number is refused by its name', async (_, one) => {
    const tooGreat = 2n ** 53n
    const error = await refusal(one, bytesOf(one.method.input, one.fields, tooGreat))
    expect(error?.code).toBe('RTK_INVALID_ARGUMENT')
    const least = one.fields.at(-1)?.scalar === ScalarType.UINT64 ? 0 : Number.MIN_SAFE_INTEGER
    expect(error?.message).toBe(
      `${placeOf(one)} must be a whole number from ${least} to ${Number.MAX_SAFE_INTEGER}, got ${tooGreat}`,
    )
  })

  it.each(titled)('%s: a negative one is refused by its name', async (_, one) => {
    const error = await refusal(one, bytesOf(one.method.input, one.fields, -2n))
    expect(error?.code).toBe('RTK_INVALID_ARGUMENT')
    const named = one.fields.filter(({ localName }) => error?.message.includes(localName))
    expect(named, error?.message).not.toEqual([])
  })
})
