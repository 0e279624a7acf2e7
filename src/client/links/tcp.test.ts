/** What a link over a byte stream says of those who are no broker, and what it does when the broker goes. */
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startTestBroker } from '../../../contract-tests/testing/start-test-broker.ts'
import { encodeOpening } from '../../ports/index.ts'
import { connect } from '../connect.ts'
import { openTcpLink } from './tcp.ts'
import { openLink } from './testing/link-kit.ts'

/** A server that does with each connection what the test says. */
async function serverOf(serve: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => serve(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const otherVersion = encodeOpening(1)
otherVersion[4] = 7

describe('a link over a byte stream', () => {
  it.each([
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /speaks HTTP/],
    ['TLS', Uint8Array.of(21, 3, 3, 0, 2, 2, 70), /tcps:\/\//],
    ['another protocol', Buffer.from('INFO {"server":"…"}\r\n'), /does not speak/],
    ['another version', otherVersion, /version 7/],
    ['frames that are too large', Buffer.concat([encodeOpening(1), Uint8Array.of(255, 0, 0, 0)]), /at most/],
    ['nothing', Buffer.alloc(0), /without a word/],
  ])('tells what answered: %s', async (_, bytes, reason) => {
    const url = await serverOf((socket) => socket.end(bytes))
    await expect(openLink(openTcpLink, url)).rejects.toMatchObject({
      code: 'RTK_DISCONNECTED',
      message: expect.stringMatching(reason),
    })
  })

  it.each(['tcp://127.0.0.1:1', 'tcps://127.0.0.1:1', 'unix:/nowhere/broker.sock'])(
    'says where nobody answers: %s',
    async (url) => {
      await expect(openLink(openTcpLink, url)).rejects.toMatchObject({
        code: 'RTK_DISCONNECTED',
        message: expect.stringContaining(url.replace(/^\w+:(\/\/)?/, '')),
      })
    },
  )

  it('stops connecting when it is told to', async () => {
    const url = await serverOf(() => {}) // never says a word
    const signal = AbortSignal.timeout(50)
    await expect(openLink(openTcpLink, url, { signal })).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    const gone = AbortSignal.abort()
    await expect(openLink(openTcpLink, url, { signal: gone })).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
    })
  })

  it('names the broker that it means, under TLS', async () => {
    const named = Promise.withResolvers<string>()
    const server = createTlsServer({
      SNICallback: (name, done) => {
        named.resolve(name)
        done(null)
      },
    })
    server.on('tlsClientError', () => undefined).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await expect(openLink(openTcpLink, `tcps://localhost:${port}`)).rejects.toMatchObject({
      code: 'RTK_DISCONNECTED',
    })
    expect(await named.promise).toBe('localhost')
  })

  it('answers signs of life that the broker asks for', async () => {
    const answered = Promise.withResolvers<Buffer>()
    const url = await serverOf((socket) => {
      socket.once('data', () => {
        socket.write(Buffer.concat([encodeOpening(1_000_000), Buffer.alloc(4)]))
        socket.once('data', answered.resolve)
      })
    })
    const opening = openLink(openTcpLink, url, { signal: AbortSignal.timeout(2_000) }).catch(() => {})
    const answer = await answered.promise
    expect(answer.subarray(-4)).toEqual(Buffer.alloc(4))
    await opening
  })

  it('is told why the broker closes it', async () => {
    const broker = await startTestBroker({ transports: [tcpTransport({ port: 0 })] })
    onTestFinished(() => broker.stop())
    const link = await openLink(openTcpLink, broker.addresses[0].url)
    await broker.stop()
    expect(await link.closed).toMatchObject({
      code: 'RTK_DISCONNECTED',
      message: expect.stringMatching(/stopping/),
    })
  })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
if (!hasOpenssl) console.warn('the test of tcps: is skipped: there is no openssl to make a certificate with')

it.skipIf(!hasOpenssl)('tcps: asks for a certificate that it trusts', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ratatoskr-tls-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  execFileSync('openssl', ['req', '-x509', ...kind, '-out', certFile, '-days', '2', ...subject], {
    stdio: 'pipe',
  })
  const cert = readFileSync(certFile, 'utf8')
  const broker = await startTestBroker({
    transports: [tcpTransport({ port: 0, tls: { cert, key: readFileSync(keyFile) } })],
  })
  onTestFinished(() => broker.stop())
  const { url, port } = broker.addresses[0]
  expect(url).toMatch(/^tcps:/)
  await expect(connect(url)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' }) // nobody vouches for it
  const trusted = getCACertificates('default')
  setDefaultCACertificates([...trusted, cert])
  onTestFinished(() => setDefaultCACertificates(trusted))
  for (const address of [url, `tcps://localhost:${port}`]) {
    await using client = await connect(address)
    await client.createTopic('orders')
    await client.publish('orders', new Uint8Array(300_000))
    const [message] = await client.fetch('orders', { partition: 0 })
    expect(message.payload.length).toBe(300_000)
  }
  await expect(connect(`tcp://127.0.0.1:${port}`)).rejects.toMatchObject({
    message: expect.stringMatching(/tcps/),
  })
})
