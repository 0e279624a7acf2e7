/**
 * `grpc.reflection.v1` and `v1alpha`, answered by the package that gRPC has for them. It comes with a compiler of .proto
 * files, which only tools need: so it is loaded at their first call, and until then calls are bytes.
 */
import type { MethodDefinition, Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js'
import * as proto from 'ratatoskr/proto'
import { type CallHost, failure } from './calls.ts'
import type { DuplexCall } from './data-stream.ts'
import type { Definition, Routes } from './routes.ts'
import { type Incoming, readable } from './status.ts'

const versions = ['v1', 'v1alpha'] as const
type Version = (typeof versions)[number]
const pathOf = (version: Version): string =>
  `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`

export const reflectionPaths: readonly string[] = versions.map(pathOf)

/** Its requests are bytes, all of which can be read. */
type BytesStream = DuplexCall<Incoming<Buffer>>

/** What the package handles of one version: its only method, and that method's handler. */
interface Loaded {
  readonly method: MethodDefinition<unknown, unknown>
  readonly handle: (stream: unknown) => void
}

const asIs = (bytes: Buffer): Buffer => bytes

/** Adds both versions to a server. */
export function addReflection(routes: Routes, host: CallHost): void {
  let loading: Promise<Record<Version, Loaded>> | undefined
  for (const version of versions) {
    const definition: Definition<Buffer, Buffer> = {
      path: pathOf(version),
      requestStream: true,
      responseStream: true,
      requestDeserialize: asIs,
      responseSerialize: asIs,
    }
    routes.addStream(definition, (stream) => {
      loading ??= load()
      loading.then(
        (loaded) => answer(stream, loaded[version]),
        (error: unknown) => stream.fail(failure(host, error)),
      )
    })
  }
}

/** Lets the package answer a stream of bytes: it listens for requests, and writes responses. */
function answer(stream: BytesStream, { method, handle }: Loaded): void {
  const on = (event: string, listener: (request?: unknown) => void): void => {
    if (event === 'end') stream.once('end', () => listener())
    if (event !== 'data') return
    stream.on('data', (bytes) => {
      let request: unknown
      try {
        request = method.requestDeserialize(readable(bytes))
      } catch {
        stream.fail({ code: proto.status.INTERNAL, details: 'the request is not one of reflection' })
        return
      }
      listener(request)
    })
  }
  handle({
    on,
    write: (response: unknown) => {
      const hasRoom = stream.write(proto.frameOf(method.responseSerialize(response)), () => {
        if (!hasRoom) stream.resume()
      })
      // No more is read of a client that does not take the answers.
      if (!hasRoom) stream.pause()
    },
    end: () => stream.end(),
  })
  stream.resume()
}

/** The package wants what proto-loader makes of .proto files, and reads nothing of it but the descriptors. */
async function load(): Promise<Record<Version, Loaded>> {
  const [{ ReflectionService }, { service: health }] = await Promise.all([
    import('@grpc/reflection'),
    import('grpc-health-check'),
  ])
  const ours = Object.values(proto.descriptors).map((text) => Buffer.from(text, 'base64'))
  const files = { format: 'Protocol Buffer 3 DescriptorProto' as const, type: {}, fileDescriptorProtos: ours }
  const service = new ReflectionService({ ratatoskr: files, health: health.Check.requestType })
  const found: Partial<Record<Version, Loaded>> = {}
  const catcher = {
    addService({ ServerReflectionInfo: method }: ServiceDefinition, handlers: UntypedServiceImplementation) {
      const version = versions.find((one) => method.path.startsWith(`/grpc.reflection.${one}.`))
      if (version !== undefined)
        found[version] = { method, handle: handlers.ServerReflectionInfo as Loaded['handle'] }
    },
  }
  service.addToServer(catcher as unknown as Server)
  return found as Record<Version, Loaded>
}
