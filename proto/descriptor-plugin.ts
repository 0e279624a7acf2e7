/**
 * A protoc plugin: writes the descriptors of our .proto files into `descriptors.ts`, so that gRPC reflection needs
 * neither the files nor a parser at run time. `buf generate` runs it.
 */
import { readFileSync, writeSync } from 'node:fs'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponse_Feature,
  CodeGeneratorResponseSchema,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt'

const request = fromBinary(CodeGeneratorRequestSchema, readFileSync(0))
const entries = request.protoFile.map((file) => {
  // Comments and places in the source are of no use to reflection and are most of the bytes.
  const bare = { ...file, sourceCodeInfo: undefined }
  const text = Buffer.from(toBinary(FileDescriptorProtoSchema, bare)).toString('base64')
  return `  '${file.name}':\n    '${text}',\n`
})
const content = `// Written by proto/descriptor-plugin.ts; do not edit.

/** Serialized FileDescriptorProto of each .proto file, in base64, by its path. */
export const descriptors: Readonly<Record<string, string>> = {
${entries.join('')}}
`
const response = create(CodeGeneratorResponseSchema, {
  supportedFeatures: BigInt(CodeGeneratorResponse_Feature.PROTO3_OPTIONAL),
  file: [{ name: 'descriptors.ts', content }],
})
writeSync(1, toBinary(CodeGeneratorResponseSchema, response))
