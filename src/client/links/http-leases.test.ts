/** A member of a queue group over HTTP, where answers and events come by connections of their own. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openHttpLink } from './http.ts'
import { openLink } from './testing/link-kit.ts'
import { Leases } from './testing/queue-kit.ts'

function frame(event: object): Buffer {
  const body = Buffer.from(JSON.stringify(event))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

const lost = frame({
  event: 'lost',
  ranges: [{ partition: 0, lease: 1, from: 1, to: 2 }],
  reason: 'order',
})
const release = { action: 'release', partition: 0, lease: 1, from: 0, to: 1 } as const

/** A broker whose stream the test writes, and that answers each settlement with `losses`. */
async function joined(losses: number | undefined) {
  const streams: ServerResponse[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    if (path.endsWith('/consume')) {
      streams.push(response)
      response.write(frame({ event: 'subscribed', subscription: 's1', topic: 'orders', member: 'one' }))
    } else if (path.endsWith('/settle')) response.end(JSON.stringify({ results: [{}], losses }))
    else response.end('{}')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const link = await openLink(openHttpLink, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const leases = new Leases()
  const member = await link.consume('orders', { group: 'work' }, leases)
  const settled = member.settle([release])
  void Promise.resolve(settled).then(() => leases.log.push('answer'))
  // Several round trips: an answer that waits for nothing would be told meanwhile.
  for (let i = 0; i < 5; i++) await link.topicExists('orders')
  return { stream: streams[0], member, leases, settled }
}

describe('the answer to a settlement over HTTP', () => {
  it('waits for the losses that were told before it', async () => {
    const { stream, leases, settled } = await joined(2)
    expect(leases.log).toEqual([])
    stream.write(lost)
    await leases.until(({ log }) => log.length > 0)
    stream.write(lost)
    expect(await settled).toEqual([undefined])
    expect(leases.log).toEqual(['lost 0:1-2 order', 'lost 0:1-2 order', 'answer'])
  })

  it('waits for nothing when the broker counts no losses', async () => {
    const { leases } = await joined(undefined)
    expect(leases.log).toEqual(['answer'])
  })

  it('comes when the stream has ended before the losses did', async () => {
    const { stream, leases, settled } = await joined(1)
    stream.end(frame({ event: 'ended' }))
    expect(await settled).toEqual([undefined])
    expect(leases.log).toEqual(['ended', 'answer'])
  })

  it('comes when the member leaves meanwhile', async () => {
    const { member, settled } = await joined(1)
    await Promise.all([member.close(), settled])
    expect(await settled).toEqual([undefined])
  })
})
