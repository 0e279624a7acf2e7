import { link, lstat, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'ratatoskr/client'
import type { BoundAddress } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type TcpTransportOptions, tcpTransport } from './index.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rtk-unix-'))
  path = join(folder, 'broker.sock')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function started(options: TcpTransportOptions = {}) {
  const transport = tcpTransport({ path, ...options })
  const broker = await startTestBroker({ transports: [transport] })
  onTestFinished(() => broker.stop())
  return { broker, transport, address: transport.address as BoundAddress }
}

const modeOf = async (file: string): Promise<number> => (await lstat(file)).mode & 0o777

/** The socket of a broker that died: its file stays, and nobody listens. */
async function leaveStaleSocket(): Promise<void> {
  const server = createServer()
  const bound = join(folder, 'other')
  await new Promise<void>((resolve) => server.listen(bound, resolve))
  await link(bound, path)
  await new Promise((resolve) => server.close(resolve)) // removes the name that it was bound to, not ours
}

describe('a Unix socket', () => {
  it('is for its owner alone, leaves nothing beside it, and is gone after a stop', async () => {
    const { broker, address } = await started()
    expect(await modeOf(path)).toBe(0o600)
    expect(await readdir(folder)).toEqual(['broker.sock'])
    expect(address).toEqual({ host: path, port: 0, url: `unix:${path}` })
    await using client = await connect(address.url)
    await client.createTopic('orders')
    expect((await client.publish('orders', 'x')).offset).toBe(0)
    await client.close()
    await broker.stop()
    expect(await readdir(folder)).toEqual([])
  })

  it('has the mode that it is given', async () => {
    await started({ mode: 0o666 })
    expect(await modeOf(path)).toBe(0o666)
  })

  it('may have any name, which its URL spells', async () => {
    const odd = join(folder, 'ö %2F?#.sock')
    const { address } = await started({ path: odd })
    await using client = await connect(address.url)
    expect(await client.listTopics()).toEqual([])
  })

  it('of a dead broker is replaced', async () => {
    await leaveStaleSocket()
    expect((await lstat(path)).isSocket()).toBe(true)
    const { address } = await started()
    await using client = await connect(address.url)
    expect(await client.listTopics()).toEqual([])
  })

  it('of a live broker is left alone', async () => {
    const { address } = await started()
    await expect(started()).rejects.toMatchObject({ code: 'RTK_ADDRESS_IN_USE' })
    await using client = await connect(address.url)
    expect(await client.listTopics()).toEqual([])
  })

  it('goes to one of two brokers that start at once, and nothing is left of the other', async () => {
    for (let round = 0; round < 5; round++) {
      await leaveStaleSocket()
      const outcomes = await Promise.allSettled([started(), started(), started()])
      const listening = outcomes.filter(({ status }) => status === 'fulfilled')
      expect(listening).toHaveLength(1)
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({ code: 'RTK_ADDRESS_IN_USE' })
        else await outcome.value.broker.stop()
      }
      expect(await readdir(folder)).toEqual([])
    }
  })

  it.each([
    ['a file', () => writeFile(path, 'precious')],
    ['a link to a file', () => symlink(join(folder, 'nowhere'), path)],
  ])('does not take the place of %s', async (_, make) => {
    await make()
    await expect(started()).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringContaining('no socket'),
    })
    expect(await readdir(folder)).toEqual(['broker.sock'])
  })

  it('that took its place meanwhile is not removed by a stop', async () => {
    const { broker } = await started()
    await rm(path)
    await leaveStaleSocket()
    await broker.stop()
    expect(await readdir(folder)).toEqual(['broker.sock'])
  })

  it.each([
    ['whose folder is missing', () => join(folder, 'missing', 'x.sock'), /ENOENT/],
    ['whose name is too long', () => join(folder, 'x'.repeat(120)), /too long/],
  ])('%s is refused with the reason', async (_, where, reason) => {
    await expect(started({ path: where() })).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringMatching(reason),
    })
    expect(await readdir(folder)).toEqual([])
  })

  it('takes no TLS', () => {
    expect(() => tcpTransport({ path, tls: {} })).toThrow(TypeError)
  })
})
