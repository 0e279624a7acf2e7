/**
 * `grpc.health.v1.Health`, as generated code would define it. Its three messages are so small that they are written here: the package
 * that has them reads a .proto file with a whole compiler when it is loaded, at the start of every broker.
 */
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import type { Definition } from './routes.ts'

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

const encodeResponse = (response: HealthCheckResponse): Uint8Array =>
  writeResponse(new BinaryWriter(), response).finish()

function encodeList({ statuses }: HealthListResponse): Uint8Array {
  const writer = new BinaryWriter()
  for (const [name, response] of Object.entries(statuses)) {
    writer.uint32(tag(firstField, lengthDelimited)).fork()
    writer.uint32(tag(1, lengthDelimited)).string(name)
    writeResponse(writer.uint32(tag(2, lengthDelimited)).fork(), response).join()
    writer.join()
  }
  return writer.finish()
}

const method = <Request, Response>(
  name: string,
  requestDeserialize: (bytes: Buffer) => Request,
  responseSerialize: (response: Response) => Uint8Array,
  responseStream = false,
): Definition<Request, Response> => ({
  path: `/grpc.health.v1.Health/${name}`,
  requestStream: false,
  responseStream,
  requestDeserialize,
  responseSerialize,
})

export const healthDefinition = {
  check: method('Check', decodeRequest, encodeResponse),
  list: method('List', () => ({}), encodeList),
  watch: method('Watch', decodeRequest, encodeResponse, true),
}
