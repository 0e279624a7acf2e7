import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../domain/errors.ts'
import { MeshLink, type MeshService, type ServeAppend } from './mesh-link.ts'
import { ChannelDouble } from './testing/channel-double.ts'

interface Operations {
  echo: { takes: { readonly text: string }; gives: string }
  hold: { takes: undefined; gives: string }
  note: { takes: number; gives: undefined }
}

const noAppends: ServeAppend = () => ({ value: -1 })

function linked(service: MeshService<Operations> = {}, serveAppend = noAppends) {
  const channel = new ChannelDouble()
  const ended: string[] = []
  const caller = new MeshLink<Operations>(channel.left, {}, noAppends, () => ended.push('caller'))
  const server = new MeshLink<Operations>(channel.right, service, serveAppend, () => ended.push('server'))
  return { channel, caller, server, ended }
}

const echo: MeshService<Operations> = {
  echo: ({ text }, bytes) => ({ value: text, bytes: bytes.map((byte) => byte + 1) }),
}

describe('a link of the mesh', () => {
  it('carries all calls of a turn in one message, with their bytes, and the answers in one', async () => {
    const { channel, caller } = linked(echo)
    const answers = ['a', 'b', 'c'].map((text, i) => caller.call('echo', { text }, Uint8Array.of(i, i, i)))
    await channel.settle()
    const given = await Promise.all(answers)
    expect(given.map(({ value }) => value)).toEqual(['a', 'b', 'c'])
    expect(given.map(({ bytes }) => [...(bytes ?? [])])).toEqual([
      [1, 1, 1],
      [2, 2, 2],
      [3, 3, 3],
    ])
    expect(channel.crossed).toBe(2)
  })

  it('copies bytes when they are handed over: their owner may use the memory again at once', async () => {
    const { channel, caller } = linked(echo)
    const bytes = Uint8Array.of(1, 2)
    const answer = caller.call('echo', { text: '' }, bytes)
    bytes.fill(9)
    await channel.settle()
    expect([...((await answer).bytes ?? [])]).toEqual([2, 3])
  })

  it('keeps everything in the order in which it was said', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(9), fc.nat(3)), { maxLength: 60 }), async (said) => {
        const heard: number[] = []
        const { channel, caller } = linked({
          note: (number) => {
            heard.push(number)
            return { value: undefined }
          },
        })
        for (const [i, [number, pause]] of said.entries()) {
          if (i % 2 === 0) caller.tell('note', number)
          else void caller.call('note', number, new Uint8Array(number * 1_000))
          for (let turn = 0; turn < pause; turn++) await Promise.resolve()
        }
        await channel.settle()
        expect(heard).toEqual(said.map(([number]) => number))
      }),
      { numRuns: 50 },
    )
  })

  it('carries appends among everything else, in order, and whatever they come to', async () => {
    const heard: unknown[] = []
    const { channel, caller } = linked(
      {
        note: (number) => {
          heard.push(number)
          return { value: undefined }
        },
      },
      (handle, recordCount, durability, batch) => {
        heard.push([handle, recordCount, durability, ...batch])
        if (handle === 2) throw new RatatoskrError('RTK_OVERLOADED', 'full')
        return handle === 3 ? Promise.resolve({ baseOffset: 1 }) : 2 ** 40
      },
    )
    const append = (handle: number) =>
      new Promise((resolve, reject) => {
        const batch = Uint8Array.of(handle, handle)
        caller.append(handle, 5, 1, batch, { appended: resolve, resolve, reject })
      })
    const results = [append(1)]
    caller.tell('note', 7)
    results.push(append(2), append(3))
    caller.tell('note', 8)
    const settled = Promise.allSettled(results)
    await channel.settle()
    expect(heard).toEqual([[1, 5, 1, 1, 1], 7, [2, 5, 1, 2, 2], [3, 5, 1, 3, 3], 8])
    expect(await settled).toMatchObject([
      { value: 2 ** 40 },
      { reason: { code: 'RTK_OVERLOADED' } },
      { value: { value: { baseOffset: 1 } } },
    ])
  })

  it('gives each turn bytes of its own, though it gathers them in the same memory', async () => {
    const kept: Uint8Array[] = []
    const { channel, caller } = linked({}, (_handle, _records, _durability, batch) => kept.push(batch))
    const waiter = { appended: () => {}, resolve: () => {}, reject: () => {} }
    for (let turn = 1; turn <= 3; turn++) {
      for (let i = 0; i < 100; i++) caller.append(1, 1, 0, new Uint8Array(turn * 10).fill(turn), waiter)
      await channel.settle()
    }
    expect(kept).toHaveLength(300)
    const expected = kept.map((_, i) =>
      new Uint8Array((Math.floor(i / 100) + 1) * 10).fill(Math.floor(i / 100) + 1),
    )
    expect(kept).toEqual(expected)
  })

  it('carries large batches by themselves, in memory that holds nothing else, and in order', async () => {
    const sizes: number[][] = []
    const { channel, caller } = linked({}, (_handle, _records, _durability, batch) => {
      expect(batch).toEqual(new Uint8Array(batch.length).fill(batch[0]))
      return sizes.push([batch[0], batch.length, batch.buffer.byteLength])
    })
    const waiter = { appended: () => {}, resolve: () => {}, reject: () => {} }
    for (const [fill, size] of [10, 100_000, 65_536, 20, 65_535].entries())
      caller.append(1, 1, 0, new Uint8Array(size).fill(fill), waiter)
    await channel.settle()
    expect(sizes).toEqual([
      [0, 10, 10],
      [1, 100_000, 100_000],
      [2, 65_536, 65_536],
      [3, 20, 65_555],
      [4, 65_535, 65_555],
    ])
  })

  it('hands on errors with their code and details, also of services that are not there', async () => {
    const { channel, caller } = linked({
      echo: () => {
        throw new RatatoskrError('RTK_OVERLOADED', 'too much', { details: { waiting: 3 } })
      },
      hold: async () => Promise.reject(new TypeError('a bug')),
    })
    const results = Promise.allSettled([
      caller.call('echo', { text: '' }),
      caller.call('hold', undefined),
      caller.call('note', 1),
    ])
    await channel.settle()
    expect(await results).toMatchObject([
      { reason: { code: 'RTK_OVERLOADED', message: 'too much', details: { waiting: 3 } } },
      { reason: { code: 'RTK_INTERNAL' } },
      { reason: { code: 'RTK_INTERNAL' } },
    ])
  })

  it('fails the calls that wait when the channel closes, and those that come later', async () => {
    const { channel, caller, ended } = linked({ hold: () => new Promise(() => {}) })
    const waiting = caller.call('hold', undefined)
    await channel.settle()
    channel.right.close()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_UNAVAILABLE', retryable: true })
    await expect(caller.call('echo', { text: '' })).rejects.toMatchObject({ code: 'RTK_UNAVAILABLE' })
    caller.close()
    expect(ended.sort()).toEqual(['caller', 'server'])
  })

  it('cancels at the other end, for the same reason', async () => {
    const reasons: unknown[] = []
    const { channel, caller } = linked({
      hold: (_takes, _bytes, signal) =>
        new Promise((_, reject) => {
          signal?.addEventListener('abort', () => {
            reasons.push((signal.reason as { name: string }).name)
            reject(new RatatoskrError('RTK_TIMEOUT', 'late'))
          })
        }),
    })
    const aborting = new AbortController()
    const held = caller.call('hold', undefined, undefined, aborting.signal)
    held.catch(() => {})
    await channel.settle()
    aborting.abort(Object.assign(new Error('late'), { name: 'TimeoutError' }))
    await channel.settle()
    await expect(held).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    expect(reasons).toEqual(['TimeoutError'])
  })
})
