/** Which frames of a connection are taken out of its stream. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { SplitStream } from './split-stream.ts'

const batch = Buffer.from([0x82, 0x81, 0, 0, 0, 0, 0x78])
/** Of an opcode that there is not. */
const broken = Buffer.from([0x83, 0x80, 0, 0, 0, 0])

it('hands on no batch that comes behind a frame which breaks the rules', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  onTestFinished(() => void client.destroy())
  const [accepted] = (await once(server, 'connection')) as [Socket]
  const stream = new SplitStream(accepted, 1_000)
  onTestFinished(() => void stream.destroy())
  const [batches, others]: [string[], Buffer[]] = [[], []]
  const binary = (payload: Uint8Array): void => void batches.push(Buffer.from(payload).toString())
  stream.begin({ binary, heard: () => undefined, writable: () => undefined }, new Uint8Array(0))
  stream.on('data', (bytes: Buffer) => others.push(bytes))
  client.write(batch)
  await expect.poll(() => batches).toEqual(['x'])
  client.write(Buffer.concat([broken, batch]))
  await expect.poll(() => Buffer.concat(others)).toEqual(Buffer.concat([broken, batch]))
  expect(batches).toEqual(['x'])
})
