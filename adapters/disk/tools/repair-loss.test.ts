/** What is lost or in conflict in a data directory: that a check tells it, and a repair goes on only when it is accepted. */
import {
  appendFile,
  copyFile,
  cp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { batchStarts, utf8 } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rounds } from '../../../src/testing/rounds.ts'
import { flip, id, name, range, readableIn, SampleDirectory, told } from '../testing/sample-directory.ts'
import { filesIn } from '../testing/setups.ts'

const at = new SampleDirectory()

beforeEach(() => at.make())
afterEach(() => at.remove())

describe('segments that have the same records', () => {
  it('a copy under another name is set aside, whichever it is', async () => {
    for (const [source, base] of [
      [0, 3],
      [1, 9],
      [3, 20],
      [2, 10],
      [1, 24],
      [1, 30],
    ] as const) {
      await at.fresh()
      const all = await at.segments()
      await copyFile(all[source], join(at.logDirectory, name(base)))
      await expect(at.readable()).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
      await unlink(join(at.directory, 'clean')).catch(() => undefined)
      expect((await at.errors()).length).toBeGreaterThan(0)
      const before = await at.everything()
      expect(told(await at.repair({ dryRun: true }))).toContain(`would do: set aside ${name(base)}`)
      expect(await at.everything()).toEqual(before)
      expect(told(await at.repair())).toContain(`done: set aside ${name(base)}`)
      expect(await at.errors()).toEqual([])
      expect(await at.readable()).toEqual(range(0, 24))
      const kept = (await readdir(join(at.directory, 'quarantine'))).filter((one) => one.includes(name(base)))
      expect(kept.length).toBe(1)
    }
  })

  it('are left alone where each has something of its own, until one is chosen', async () => {
    // As if two brokers had written: another batch at offset 4, and the end of the log beside it.
    const other = sampleBatch({ baseOffset: 4, count: 2, payloadBytes: 30, seed: 99 })
    await writeFile(join(at.logDirectory, name(4)), other)
    const before = await at.everything()
    const [step] = await at.repair()
    expect(step).toMatchObject({
      action: 'set aside',
      result: 'not done',
      advice: expect.stringContaining(name(4)),
    })
    const { [join(at.directory, 'clean')]: _, ...rest } = before
    expect(Object.keys(await at.everything()).filter((path) => path.endsWith('.log'))).toEqual(
      Object.keys(rest).filter((path) => path.endsWith('.log')),
    )
    expect((await at.errors()).length).toBeGreaterThan(0)
    const steps = await at.repair({ setAside: [`logs/${id.topicId}/0/${name(4)}`] })
    expect(told(steps)).toContain(`done: set aside ${name(4)}`)
    expect(await at.errors()).toEqual([])
    expect(await at.readable()).toEqual(range(0, 24))
  })

  it('only what is in such a conflict can be chosen, and before anything is changed', async () => {
    const chosen = [`logs/${id.topicId}/0/${name(0)}`]
    const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(name(0)) }
    const missing = [`logs/${id.topicId}/0/${name(7)}`]
    await appendFile((await at.segments())[3], 'half a batch')
    const before = await at.everything()
    for (const dryRun of [true, false]) {
      await expect(at.repair({ setAside: chosen, dryRun })).rejects.toMatchObject(refused)
      await expect(at.repair({ setAside: missing, dryRun })).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
    }
    // Where one of two adds nothing, the other is not taken.
    await copyFile((await at.segments())[0], join(at.logDirectory, name(3)))
    await expect(at.repair({ setAside: chosen })).rejects.toMatchObject(refused)
    await unlink(join(at.logDirectory, name(3)))
    expect({ ...(await at.everything()), [at.directory]: '' }).toEqual({ ...before, [at.directory]: '' })
    // And where there is something to decide, what has nothing to do with it is not taken.
    await writeFile(
      join(at.logDirectory, name(4)),
      sampleBatch({ baseOffset: 4, count: 2, payloadBytes: 30, seed: 99 }),
    )
    await expect(
      at.repair({ setAside: [`logs/${id.topicId}/0/${name(18)}`, `logs/${id.topicId}/0/${name(4)}`] }),
    ).rejects.toMatchObject({ message: expect.stringContaining(name(18)) })
    expect((await at.segments()).length).toBe(5)
  })

  it('only a segment of the directory can be chosen', async () => {
    for (const path of ['format.json', `../logs/${id.topicId}/0/${name(0)}`, '/etc/passwd', 'logs']) {
      await expect(at.repair({ setAside: [path] })).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    }
  })
})

describe('what is lost', () => {
  it('a missing segment is a loss that has to be accepted; then the log opens', async () => {
    await unlink((await at.segments())[1])
    // With the note of the last stop, and without.
    expect(await at.errors()).toMatchObject([{ state: 'missing', offset: 6, nextOffset: 12 }])
    await unlink(join(at.directory, 'clean'))
    expect(await at.errors()).toMatchObject([{ state: 'missing', offset: 6, nextOffset: 12 }])
    expect(told(await at.repair())).toContain(`not done: accept loss ${name(12)}`)
    expect((await at.errors()).length).toBe(1)
    expect(told(await at.repair({ acceptLoss: true }))).toContain(`done: accept loss ${name(12)}`)
    expect(await at.errors()).toEqual([])
    expect(await at.remarks()).toContain(`${name(6)} accepted`)
    expect(await at.readable()).toEqual([...range(0, 6), ...range(12, 24)])
    expect(await at.withLog(async ({ damaged }) => damaged)).toEqual([{ from: 6, to: 12 }])
    expect(await at.repair({ acceptLoss: true })).toEqual([])
  })

  it('segments at either end that are missing are told, and a loss that can be accepted', async () => {
    const index = (base: number): string => name(base).replace('log', 'index')
    const cases: [gone: string[], from: number, to: number, note: boolean][] = [
      [[name(18), index(18)], 18, 24, true],
      [[name(18)], 18, 24, false],
      [[name(12), index(12), name(18), index(18)], 12, 24, true],
      [[name(12), name(18)], 12, 24, false],
      [[name(0), index(0)], 0, 6, true],
      [[0, 6, 12, 18].flatMap((base) => [name(base), index(base)]), 0, 24, true],
      [[0, 6, 12, 18].map(name), 0, 24, false],
    ]
    for (const [gone, from, to, note] of cases) {
      await at.fresh()
      for (const one of gone) await unlink(join(at.logDirectory, one))
      if (!note) await unlink(join(at.directory, 'clean'))
      const told = {
        state: 'missing',
        file: expect.stringContaining(name(from)),
        problem: expect.stringContaining(`offsets ${from} to ${to - 1}`),
        advice: expect.stringContaining('--accept-loss'),
      }
      expect(await at.errors()).toMatchObject([told])
      // Whatever else is mended, this stays to be told until it is accepted.
      await appendFile((await at.segments()).at(-1) ?? join(at.logDirectory, 'x'), 'half')
      expect(await at.repair()).toContainEqual(
        expect.objectContaining({ action: 'accept loss', result: 'not done', advice: expect.any(String) }),
      )
      expect(await at.errors()).toMatchObject([told])
      expect((await at.repair({ acceptLoss: true, dryRun: true })).map(({ result }) => result)).not.toContain(
        'not done',
      )
      await at.repair({ acceptLoss: true })
      expect(await at.errors()).toEqual([])
      expect(await at.readable()).toEqual(range(0, 24).filter((offset) => offset < from || offset >= to))
      expect(await at.withLog(async ({ endOffset }) => endOffset)).toBe(24)
    }
  })

  it('a damaged batch is a loss that can be accepted; the file is kept', async () => {
    const path = (await at.segments())[1]
    await flip(path, 200)
    const damaged = await readFile(path)
    expect(await at.errors()).toMatchObject([
      { state: 'damaged', offset: 8, nextOffset: 10, file: expect.stringContaining(name(6)) },
    ])
    expect(told(await at.repair())).toContain(`not done: accept loss ${name(6)}`)
    expect(await readFile(path)).toEqual(damaged)
    expect(told(await at.repair({ acceptLoss: true }))).toContain(`done: accept loss ${name(6)}`)
    expect(await at.errors()).toEqual([])
    expect(await at.readable()).toEqual([...range(0, 8), ...range(10, 24)])
    const [kept] = await readdir(join(at.directory, 'quarantine'))
    expect(kept).toBe(`${id.topicId}-0-${name(6)}`)
    expect(await readFile(join(at.directory, 'quarantine', kept))).toEqual(damaged)
    // What comes later is a loss of its own.
    await flip((await at.segments())[2], 100)
    expect(await at.errors()).toMatchObject([{ state: 'damaged', offset: 12 }])
  })

  it('a damaged batch that nobody has accepted is known to the index from then on', async () => {
    await flip((await at.segments())[1], 200)
    expect(told(await at.repair())).toContain(`done: write index ${name(6).replace('log', 'index')}`)
    expect(await at.withLog(async ({ damaged }) => damaged)).toEqual([{ from: 8, to: 10 }])
  })

  it('what a stop in order wrote about the files is gone when they are changed', async () => {
    expect(await readdir(at.directory)).toContain('clean')
    await unlink((await at.segments())[1])
    await at.repair({ acceptLoss: true, dryRun: true })
    expect(await readdir(at.directory)).toContain('clean')
    await at.repair({ acceptLoss: true })
    expect(await readdir(at.directory)).not.toContain('clean')
  })

  it('the end of the last segment is one: an empty segment behind it says from then on where the log ends', async () => {
    for (const damage of ['cut', 'flipped'] as const) {
      await at.fresh()
      const path = (await at.segments())[3]
      const [, , third] = batchStarts(await readFile(path))
      if (damage === 'cut') await truncate(path, third)
      else await flip(path, third + 70)
      await unlink(join(at.directory, 'clean'))
      expect(await at.errors()).toMatchObject([{ state: 'damaged', offset: 22, nextOffset: 24 }])
      const before = await at.everything()
      expect(told(await at.repair({ acceptLoss: true, dryRun: true }))).toContain(
        `would do: accept loss ${name(18)}`,
      )
      expect(await at.everything()).toEqual(before)
      expect(told(await at.repair({ acceptLoss: true }))).toContain(`done: accept loss ${name(18)}`)
      expect(await at.errors()).toEqual([])
      expect(await at.readable()).toEqual(range(0, 22))
      const next = sampleBatch({ baseOffset: 24, count: 2, payloadBytes: 30, seed: 7 })
      await at.withLog(async (log) => {
        const lost = [{ from: 22, to: 24 }]
        expect([log.endOffset, log.damaged, log.acceptedLosses]).toEqual([24, lost, lost])
        await log.append(next, 24, 2, 'fsync')
      })
      expect(await at.readable()).toEqual([...range(0, 22), ...range(24, 26)])
      expect(await at.repair({ acceptLoss: true })).toEqual([])
      expect(await at.errors()).toEqual([])
    }
  })

  it('a segment that ends early, or is empty, is one too', async () => {
    for (const size of [0, 130, 330]) {
      await at.fresh()
      const path = (await at.segments())[1]
      const [, second, third] = batchStarts(await readFile(path))
      await truncate(path, size === 130 ? second : size === 330 ? third : 0)
      expect((await at.errors()).length).toBeGreaterThan(0)
      await at.repair({ acceptLoss: true })
      expect(await at.errors()).toEqual([])
      expect(await at.readable()).toEqual([
        ...range(0, 6 + (size === 0 ? 0 : size === 130 ? 2 : 4)),
        ...range(12, 24),
      ])
    }
  })

  it('the state goes on with what is whole when both copies are damaged', async () => {
    const { state } = at.open()
    await state.start()
    await state.put('a', utf8('x'))
    await state.put('b', utf8('y'))
    await state.stop()
    for (const ending of ['log', 'copy']) {
      const path = join(at.directory, 'state', `00000000000000000001.${ending}`)
      await flip(path, [...batchStarts(await readFile(path))][2] + 70)
    }
    expect(await at.errors()).toMatchObject([{ state: 'lost', offset: 2, nextOffset: 3 }])
    expect(told(await at.repair())).toEqual(['not done: write state state'])
    expect(told(await at.repair({ acceptLoss: true }))).toEqual(['done: write state state'])
    expect(await at.errors()).toEqual([])
    expect((await readdir(join(at.directory, 'quarantine/state'))).length).toBe(2)
  })
})

/** One kind of damage to the files of a log, by random numbers below 1. */
const damages: readonly ((files: string[], a: number, b: number) => Promise<void>)[] = [
  async (files, a, b) => {
    const path = files[Math.floor(a * files.length)]
    const { size } = await stat(path)
    if (size > 0) await flip(path, Math.floor(b * size))
  },
  async (files, a, b) => {
    const path = files[Math.floor(a * files.length)]
    await truncate(path, Math.floor(b * (await stat(path)).size))
  },
  async (files, a) => unlink(files[Math.floor(a * files.length)]),
  async (files, a, b) => {
    await copyFile(files[Math.floor(a * files.length)], join(at.logDirectory, name(Math.floor(b * 30))))
  },
  async (files, a, b) => appendFile(files[Math.floor(a * files.length)], Buffer.alloc(Math.floor(b * 200))),
  async (files, a, b) => {
    const [from, to] = [files[Math.floor(a * files.length)], files[Math.floor(b * files.length)]]
    await appendFile(to, await readFile(from))
  },
]

describe('whatever was done to a log', () => {
  it('the check finds what the store would refuse or has lost, and a repair that accepts it mends that', async () => {
    const kind = fc.nat({ max: damages.length - 1 })
    const real = fc.double({ min: 0, max: 0.999_999, noNaN: true })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(kind, real, real), { minLength: 1, maxLength: 2 }),
        fc.boolean(),
        async (all, keepClean) => {
          await at.fresh()
          for (const [i, a, b] of all) {
            const files = await at.segments()
            if (files.length > 0) await damages[i](files, a, b)
          }
          // The store believes a file that was written at its stop; the check never does.
          await rm(join(at.directory, 'clean'), { force: true })
          if (!keepClean) for (const index of await filesIn(at.logDirectory, '.index')) await unlink(index)
          const found = await at.errors()
          await cp(at.directory, `${at.directory}-opened`, { recursive: true })
          const before = at.directory
          at.directory = `${at.directory}-opened`
          const outcome = await at
            .withLog(async (log) =>
              (await readableIn(log)).length < log.stableOffset - log.startOffset ? 'lost' : 'whole',
            )
            .catch(() => 'refused')
          await rm(at.directory, { recursive: true })
          at.directory = before
          const isRefused = found.some(({ state }) => ['hole', 'overlap', 'misnamed'].includes(state))
          const lost = found.some(
            ({ state, offset = 0, nextOffset = 0 }) =>
              ['damaged', 'missing'].includes(state) && nextOffset > offset,
          )
          expect(isRefused ? 'refused' : lost ? 'lost' : 'whole').toBe(outcome)
          const dry = told(await at.repair({ dryRun: true, acceptLoss: true }))
          const steps = await at.repair({ acceptLoss: true })
          if (steps.some(({ result }) => result === 'not done')) return
          expect(dry.length > 0).toBe(steps.length > 0)
          expect(await at.errors()).toEqual([])
          await at.withLog(async (log) => {
            const { endOffset } = log
            await log.append(sampleBatch({ baseOffset: endOffset }), endOffset, 1, 'fsync')
            expect((await log.read(endOffset, 1)).length).toBeGreaterThan(0)
          })
        },
      ),
      { numRuns: rounds(25, 8) },
    )
  })
})
