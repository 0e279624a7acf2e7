/**
 * `grpc.health.v1.Health` as a service of grpc-js. Its three messages are so small that they are written here: the package
 * that has them reads a .proto file with a whole compiler when it is loaded, at the start of every broker.
 */
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js'

/** A status by its number in the protocol. */
const servingStatuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const
type Serving = (typeof servingStatuses)[number]

export interface HealthCheckRequest {
  /** Full name of a service; empty means the whole server. */
  readonly service: string
}
export interface HealthCheckResponse {
  readonly status: Serving
}
export interface HealthListResponse {
  readonly statuses: Readonly<Record<string, HealthCheckResponse>>
}

/** Both messages that hold something have it in their first field. */
const firstField = 1
const lengthDelimited = 2
const varint = 0
const tag = (field: number, wireType: number): number => (field << 3) | wireType

function decodeRequest(bytes: Uint8Array): HealthCheckRequest {
  const reader = new BinaryReader(bytes)
  let service = ''
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (field === firstField && wireType === lengthDelimited) service = reader.string()
    else reader.skip(wireType, field)
  }
  return { service }
}

function writeResponse(writer: BinaryWriter, { status }: HealthCheckResponse): BinaryWriter {
  const number = servingStatuses.indexOf(status)
  return number === 0 ? writer : writer.uint32(tag(firstField, varint)).int32(number)
}

const encodeResponse = (response: HealthCheckResponse): Buffer =>
  bufferOf(writeResponse(new BinaryWriter(), response))

function encodeList({ statuses }: HealthListResponse): Buffer {
  const writer = new BinaryWriter()
  for (const [name, response] of Object.entries(statuses)) {
    writer.uint32(tag(firstField, lengthDelimited)).fork()
    writer.uint32(tag(1, lengthDelimited)).string(name)
    writeResponse(writer.uint32(tag(2, lengthDelimited)).fork(), response).join()
    writer.join()
  }
  return bufferOf(writer)
}

function bufferOf(writer: BinaryWriter): Buffer {
  const bytes = writer.finish()
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** A method whose other direction a server never takes. */
const method = <Request, Response>(
  name: string,
  requestDeserialize: (bytes: Buffer) => Request,
  responseSerialize: (response: Response) => Buffer,
  responseStream = false,
): MethodDefinition<Request, Response> => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestDeserialize,
  responseSerialize,
  requestSerialize: neverSent,
  responseDeserialize: neverSent,
})

function neverSent(): never {
  throw new TypeError('this definition is for servers: it writes no requests and reads no responses')
}

export const healthDefinition: ServiceDefinition = {
  check: method('Check', decodeRequest, encodeResponse),
  list: method('List', () => ({}), encodeList),
  watch: method('Watch', decodeRequest, encodeResponse, true),
}
