/**
 * A protoc plugin: the messages and service definitions that ts-proto writes, without its servers and clients. Those are of
 * @grpc/grpc-js, which neither the broker nor its client use: it would be loaded with the contract, at every start.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { CodeGeneratorResponseSchema } from '@bufbuild/protobuf/wkt'

const generator = join(import.meta.dirname, '..', 'node_modules', '.bin', 'protoc-gen-ts_proto')
const { stdout, stderr, status } = spawnSync(generator, {
  input: await buffer(process.stdin),
  maxBuffer: 64 * 1024 * 1024,
})
if (status !== 0) throw new Error(`ts-proto failed: ${stderr}`)

const response = fromBinary(CodeGeneratorResponseSchema, stdout)
for (const file of response.file) {
  file.content = file.content
    .replace(/import \{[^}]*\} from "@grpc\/grpc-js";\n/, '')
    .replace(/export interface \w+ extends UntypedServiceImplementation \{[\s\S]*?\n\}\n\n/, '')
    .replace(/export interface \w+ extends Client \{[\s\S]*?\n\}\n\n/, '')
    .replace(/export const \w+ = makeGenericClientConstructor\([\s\S]*?\n\};\n\n/, '')
}
process.stdout.write(toBinary(CodeGeneratorResponseSchema, response))
