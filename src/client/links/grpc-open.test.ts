/** Opening a link over gRPC. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Harness } from '../../../adapters/grpc/testing/harness.ts'
import { tls } from '../../../adapters/grpc/testing/tls.ts'
import { type Credentials, RatatoskrError } from '../../ports/index.ts'
import { MIB, open } from './testing/grpc-kit.ts'

const none: Credentials = { kind: 'none' }

describe('opening', () => {
  it('keeps a process alive that waits for it', async () => {
    const harness = await Harness.start()
    onTestFinished(() => harness.stop())
    await harness.broker.createTopic('orders')
    const code = `
      import { nodePlatform } from 'ratatoskr/adapters/node'
      import { openGrpcLink } from './src/client/links/grpc.ts'
      const options = { credentials: { kind: 'none' }, platform: nodePlatform(), frameBytesMax: 1_000_000 }
      const link = await openGrpcLink(new URL('${harness.address.url}'), options)
      console.log(await link.topicExists('orders'))
    `
    const flags = ['--conditions=source', '--input-type=module', '--eval', code]
    const cwd = join(import.meta.dirname, '..', '..', '..')
    // It ends by itself too: a link that nobody waits for holds nothing.
    expect((await promisify(execFile)(process.execPath, flags, { cwd })).stdout).toBe('true\n')
  })

  it('fails when nobody listens', async () => {
    const server = net.createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as net.AddressInfo
    server.close()
    await expect(open(`grpc://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
  })

  it('is cancelled by its signal', async () => {
    const silent = net.createServer()
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const url = `grpc://127.0.0.1:${(silent.address() as net.AddressInfo).port}`
    const controller = new AbortController()
    const opening = open(url, none, controller.signal)
    controller.abort()
    await expect(opening).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(open(url, none, controller.signal)).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(open(url, none, AbortSignal.timeout(10))).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    silent.close()
  })

  it('fails with the wrong credentials, and gives the right ones', async () => {
    const authenticate = async (_peer: unknown, given: Credentials) => {
      const right =
        (given.kind === 'bearer' && given.token === 't') || (given.kind === 'basic' && given.password === 'p')
      if (right) return { name: 'me', namespace: 'default' }
      throw new RatatoskrError('RTK_UNAUTHENTICATED', 'wrong credentials')
    }
    const security = {
      authenticator: { requiresCredentials: true, authenticate },
      authorizer: { grants: async () => ({ allows: () => true }) },
    }
    const guarded = await Harness.start({ broker: { security } })
    const { url } = guarded.address
    await expect(open(url)).rejects.toMatchObject({
      code: 'RTK_UNAUTHENTICATED',
      message: 'wrong credentials',
    })
    const wrong: Credentials = { kind: 'bearer', token: 'x' }
    await expect(open(url, wrong)).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    for (const right of [
      { kind: 'bearer', token: 't' },
      { kind: 'basic', username: 'ü', password: 'p' },
    ] as const) {
      const opened = await open(url, right)
      expect(await opened.listTopics()).toEqual([])
      await opened.close()
    }
    await guarded.stop()
  })

  it('asks for windows of 8 MiB', async () => {
    const server = http2.createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const sessions = once(server, 'session')
    const controller = new AbortController()
    const { port } = server.address() as net.AddressInfo
    const opening = open(`grpc://127.0.0.1:${port}`, none, controller.signal)
    opening.catch(() => undefined)
    const [session] = (await sessions) as [http2.ServerHttp2Session]
    await expect.poll(() => session.remoteSettings?.initialWindowSize, { interval: 5 }).toBe(8 * MIB)
    await expect.poll(() => session.state.remoteWindowSize, { interval: 5 }).toBe(8 * MIB)
    controller.abort()
    await expect(opening).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    session.destroy()
    server.close()
  })

  it('refuses a certificate that nobody trusts, and an address where TLS needs a name', async () => {
    const secure = await Harness.start({ transport: { tls } })
    const { port } = secure.address
    await expect(open(`grpcs://localhost:${port}`)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(open(`grpcs://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    await secure.stop()
  })
})
