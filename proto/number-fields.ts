/**
 * Finds the number that keeps a request from being written or read, so that its sender can be told which field it is and what
 * the field holds. Codecs only say that something is wrong: this is asked once they have, and reads the descriptors by then.
 *
 * On the wire a number of 64 bits may be one that is no exact `number` here. As plain data any number may be too large for its
 * field, negative, or not whole.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { descriptors } from './generated/descriptors.ts'

/** A number that its field cannot hold. */
export interface WrongNumber {
  /** Its place in the request, such as `settlements[2].from`. */
  readonly field: string
  readonly least: number
  readonly greatest: number
  readonly value: string
}

interface Field {
  readonly name: string
  readonly type: number
  /** The message's type, of fields that hold one. */
  readonly message: string
}

type Fields = ReadonlyMap<number, Field>

/** What the descriptors say of messages by type, and of the requests of methods by path. */
interface Contract {
  readonly messages: ReadonlyMap<string, Fields>
  readonly requests: ReadonlyMap<string, string>
}

// FieldDescriptorProto.Type
const TYPE_INT64 = 3
const TYPE_UINT64 = 4
const TYPE_INT32 = 5
const TYPE_MESSAGE = 11
const TYPE_UINT32 = 13

const ranges: ReadonlyMap<number, readonly [least: number, greatest: number]> = new Map([
  [TYPE_INT64, [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]],
  [TYPE_UINT64, [0, Number.MAX_SAFE_INTEGER]],
  [TYPE_INT32, [-(2 ** 31), 2 ** 31 - 1]],
  [TYPE_UINT32, [0, 2 ** 32 - 1]],
])

/** The first wrong number of a request as plain data. @param path of the method, such as `/ratatoskr.v1.QueueService/Settle` */
export function wrongNumberIn(path: string, request: object): WrongNumber | undefined {
  return inMessage(fieldsOf(contract().requests.get(path)), request, '')
}

/** The first wrong number of a request as it came; undefined when something else is wrong with it. */
export function wrongNumberInBytes(path: string, bytes: Uint8Array): WrongNumber | undefined {
  try {
    return inBytes(fieldsOf(contract().requests.get(path)), bytes, '')
  } catch {
    return undefined
  }
}

function inMessage(fields: Fields, message: object, prefix: string): WrongNumber | undefined {
  for (const field of fields.values()) {
    const value: unknown = (message as Readonly<Record<string, unknown>>)[field.name]
    const items = Array.isArray(value) ? value : [value]
    for (const [i, item] of items.entries()) {
      const place = `${prefix}${field.name}${items === value ? `[${i}]` : ''}`
      const wrong = inField(field, item, place)
      if (wrong !== undefined) return wrong
    }
  }
  return undefined
}

function inField(field: Field, value: unknown, place: string): WrongNumber | undefined {
  if (value === undefined || value === null) return undefined
  if (field.type === TYPE_MESSAGE) return inMessage(fieldsOf(field.message), value, `${place}.`)
  const range = ranges.get(field.type)
  if (range === undefined) return undefined
  const [least, greatest] = range
  const fits = Number.isInteger(value) && (value as number) >= least && (value as number) <= greatest
  return fits ? undefined : { field: place, least, greatest, value: String(value).slice(0, 100) }
}

function inBytes(fields: Fields, bytes: Uint8Array, prefix: string): WrongNumber | undefined {
  const reader = new BinaryReader(bytes)
  const seen = new Map<number, number>()
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag()
    const field = fields.get(number)
    const index = seen.get(number) ?? 0
    seen.set(number, index + 1)
    const place = `${prefix}${field?.name}`
    let wrong: WrongNumber | undefined
    if (field?.type === TYPE_MESSAGE && wireType === WireType.LengthDelimited) {
      // Whether more of them follow is not known yet: the first one is named without its place.
      const part = index === 0 ? `${place}.` : `${place}[${index}].`
      wrong = inBytes(fieldsOf(field.message), reader.bytes(), part)
    } else if (field !== undefined && isLong(field)) {
      const end = wireType === WireType.LengthDelimited ? reader.uint32() + reader.pos : reader.pos + 1
      while (reader.pos < end && wrong === undefined) wrong = inLong(field, reader, place)
    } else reader.skip(wireType, number)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

const isLong = ({ type }: Field): boolean => type === TYPE_INT64 || type === TYPE_UINT64

function inLong({ type }: Field, reader: BinaryReader, field: string): WrongNumber | undefined {
  const value = type === TYPE_INT64 ? reader.int64() : reader.uint64()
  if (Number.isSafeInteger(Number(value))) return undefined
  const [least, greatest] = ranges.get(type) as readonly [number, number]
  return { field, least, greatest, value: String(value) }
}

const none: Fields = new Map()
const fieldsOf = (type: string | undefined): Fields => contract().messages.get(type ?? '') ?? none

let known: Contract | undefined

function contract(): Contract {
  if (known !== undefined) return known
  const messages = new Map<string, Fields>()
  const requests = new Map<string, string>()
  for (const text of Object.values(descriptors)) {
    readFile(
      Uint8Array.from(atob(text), (char) => char.charCodeAt(0)),
      messages,
      requests,
    )
  }
  known = { messages, requests }
  return known
}

/** Reads of a FileDescriptorProto: 2 package, 4 messages (1 name, 2 fields), 6 services (1 name, 2 methods (1 name, 2 input)). */
function readFile(bytes: Uint8Array, messages: Map<string, Fields>, requests: Map<string, string>): void {
  const file = partsOf(bytes)
  const [packageName] = texts(file, 2)
  for (const message of file.get(4) ?? []) {
    const parts = partsOf(message)
    const fields = (parts.get(2) ?? []).map(readField)
    messages.set(`.${packageName}.${texts(parts, 1)[0]}`, new Map(fields))
  }
  for (const service of file.get(6) ?? []) {
    const parts = partsOf(service)
    for (const method of parts.get(2) ?? []) {
      const [name] = texts(partsOf(method), 1)
      requests.set(`/${packageName}.${texts(parts, 1)[0]}/${name}`, texts(partsOf(method), 2)[0])
    }
  }
}

/** Of a FieldDescriptorProto: 3 number, 5 type, 6 type of the message, 10 name in JSON, which is also the one here. */
function readField(bytes: Uint8Array): [number: number, field: Field] {
  const reader = new BinaryReader(bytes)
  let number = 0
  let type = 0
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (field === 3) number = reader.int32()
    else if (field === 5) type = reader.int32()
    else reader.skip(wireType, field)
  }
  const parts = partsOf(bytes)
  return [number, { name: texts(parts, 10)[0], type, message: texts(parts, 6)[0] }]
}

/** The length-delimited fields of a message, by number. */
function partsOf(bytes: Uint8Array): ReadonlyMap<number, readonly Uint8Array[]> {
  const reader = new BinaryReader(bytes)
  const parts = new Map<number, Uint8Array[]>()
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (wireType !== WireType.LengthDelimited) reader.skip(wireType, field)
    else {
      const list = parts.get(field) ?? []
      list.push(reader.bytes())
      parts.set(field, list)
    }
  }
  return parts
}

const texts = (parts: ReadonlyMap<number, readonly Uint8Array[]>, field: number): string[] =>
  (parts.get(field) ?? []).map((bytes) => new TextDecoder().decode(bytes))
