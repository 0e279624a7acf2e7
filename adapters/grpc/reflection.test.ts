/** Reflection of both versions, and what it answers to bytes that are no request. */
import { once } from 'node:events'
import { Metadata, type MethodDefinition, status } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import { afterEach, expect, it } from 'vitest'
import { Harness, rawStream } from './testing/harness.ts'

type Method = MethodDefinition<object, { listServicesResponse: { service: { name: string }[] } }>

let harness: Harness | undefined
afterEach(() => harness?.stop())

/** The methods as a tool has them. */
const methods: Method[] = []
new ReflectionService({}).addToServer({
  addService: ({ ServerReflectionInfo }: { ServerReflectionInfo: Method }) =>
    methods.push(ServerReflectionInfo),
} as never)

const open = (client: ReturnType<Harness['client']>, method: Method) =>
  client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    new Metadata(),
  )

it.each(methods.map((method) => [method.path, method] as const))(
  '%s answers each request, and ends with its caller',
  async (_, method) => {
    harness = await Harness.start()
    const client = harness.client()
    // Both come while the package is being loaded.
    const streams = [open(client, method), open(client, method)]
    for (const stream of streams) {
      stream.write({ listServices: '*' })
      const [{ listServicesResponse }] = await once(stream, 'data')
      const names = listServicesResponse.service.map(({ name }: { name: string }) => name)
      expect(names).toEqual(expect.arrayContaining(['ratatoskr.v1.TopicService', 'grpc.health.v1.Health']))
      stream.end()
      const [{ code }] = await once(stream, 'status')
      expect(code).toBe(status.OK)
    }
  },
)

it('refuses bytes that are no request, and lives on', async () => {
  harness = await Harness.start()
  const stream = rawStream(harness.client(), methods[0].path)
  stream.on('error', () => undefined).resume()
  const code = new Promise((resolve) => stream.once('status', (ended) => resolve(ended.code)))
  stream.write(Buffer.from([0xff, 0xff, 0xff]))
  expect(await code).toBe(status.INTERNAL)
  const next = open(harness.client(), methods[0])
  next.write({ listServices: '*' })
  expect(await once(next, 'data')).toHaveLength(1)
  next.end()
})
