/** The simulated disk keeps its model: what survives what, which faults there are, and that a seed is a run. */
import type { DiskFile } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type SimulatedDisk, simulatedDisk } from './simulated-disk.ts'

const bytes = (size: number, value = 7): Uint8Array => new Uint8Array(size).fill(value)

/** A disk with one file whose name and first content are durable. */
async function diskWithFile(size = 1000, seed = 1): Promise<{ disk: SimulatedDisk; file: DiskFile }> {
  const disk = simulatedDisk({ seed })
  await disk.makeDirectory('/d')
  const file = await disk.open('/d/f', 'create')
  if (size > 0) await file.write(bytes(size, 1), 0)
  await file.sync()
  await disk.syncDirectory('/d')
  await disk.syncDirectory('/')
  return { disk, file }
}

const outcomes = <T>(disk: SimulatedDisk, look: (cut: SimulatedDisk) => T, count = 400): Set<T> =>
  new Set(Array.from({ length: count }, (_, seed) => look(disk.powerCut({ seed }))))

const sizeAt = (disk: SimulatedDisk): number => disk.contents('/d/f').length

describe('data', () => {
  it('that was synced survives every power cut, in a file that grows by other writes', async () => {
    const { disk, file } = await diskWithFile()
    await file.write(bytes(9000, 2), 1000)
    for (let seed = 0; seed < 200; seed++) {
      expect(disk.powerCut({ seed }).contents('/d/f').subarray(0, 1000)).toEqual(bytes(1000, 1))
    }
  })

  it('that was not synced survives a killed process, and a power cut in part', async () => {
    const { disk, file } = await diskWithFile()
    await file.write(bytes(5000, 2), 1000)
    expect(disk.fork().contents('/d/f').subarray(1000)).toEqual(bytes(5000, 2))
    const seen = outcomes(disk, (cut) => {
      const now = cut.contents('/d/f')
      if (now.length < 6000) return now.length === 1000 ? 'old size' : 'other size'
      const kept = now.subarray(1000).filter((value) => value === 2).length
      return kept === 5000 ? 'all' : kept === 0 ? 'zeros' : 'torn'
    })
    expect([...seen].sort()).toEqual(['all', 'old size', 'torn', 'zeros'])
  })

  it('of several writes survives in any order, sector by sector, and a sector is never torn', async () => {
    const { disk, file } = await diskWithFile(4096)
    await file.write(bytes(512, 2), 0)
    await file.write(bytes(512, 3), 512)
    await file.write(bytes(512, 4), 1024)
    const seen = outcomes(
      disk,
      (cut) => {
        const now = cut.contents('/d/f')
        for (let sector = 0; sector < 8; sector++) {
          const content = now.subarray(sector * 512, sector * 512 + 512)
          if (content.some((value) => value !== content[0])) expect.fail(`sector ${sector} is torn`)
        }
        return [now[0], now[512], now[1024]].join()
      },
      2000,
    )
    expect(seen.size).toBe(8)
  })

  it('written over may be any of its versions since the last sync', async () => {
    const { disk, file } = await diskWithFile(100)
    for (const value of [2, 3, 4]) await file.write(bytes(100, value), 0)
    const seen = outcomes(disk, (cut) => cut.contents('/d/f')[0])
    expect([...seen].sort()).toEqual([1, 2, 3, 4])
  })

  it('cut off comes back unless the truncate was synced, and never behind a file that grows again', async () => {
    const { disk, file } = await diskWithFile(1000)
    await file.truncate(100)
    expect(outcomes(disk, sizeAt)).toEqual(new Set([100, 1000]))
    await file.sync()
    await file.truncate(1000)
    await file.sync()
    expect(disk.powerCut().contents('/d/f').subarray(100)).toEqual(bytes(900, 0))
  })

  it('is read as it was written, across pages and past the end', async () => {
    const { disk, file } = await diskWithFile(0)
    const content = Uint8Array.from({ length: 10_000 }, (_, at) => at * 31)
    await file.write(content.subarray(4000), 4000)
    await file.write(content.subarray(0, 4000), 0)
    const into = bytes(6000)
    expect(await file.read(into, 3000)).toBe(6000)
    expect(into).toEqual(content.subarray(3000, 9000))
    expect(await file.read(into, 9000)).toBe(1000)
    expect(await file.read(into, 20_000)).toBe(0)
    expect([disk.contents('/d/f'), await file.size()]).toEqual([content, 10_000])
  })
})

describe('names', () => {
  it('survive only when their directory was synced, not with the file', async () => {
    const { disk } = await diskWithFile()
    const made = await disk.open('/d/new', 'create')
    await made.write(bytes(10), 0)
    await made.sync()
    expect(disk.powerCut({ survival: 'nothing' }).paths()).toEqual(['/d/f'])
    expect(outcomes(disk, (cut) => cut.paths().length)).toEqual(new Set([1, 2]))
    await disk.syncDirectory('/d')
    const cut = disk.powerCut({ survival: 'nothing' })
    expect(cut.contents('/d/new')).toEqual(bytes(10))
  })

  it('of one directory survive in their order', async () => {
    const { disk } = await diskWithFile()
    for (const name of ['a', 'b', 'c']) await disk.open(`/d/${name}`, 'create')
    await disk.remove('/d/f')
    const seen = outcomes(disk, (cut) => cut.paths().join(' '))
    expect([...seen].sort()).toEqual([
      '/d/a /d/b /d/c',
      '/d/a /d/b /d/c /d/f',
      '/d/a /d/b /d/f',
      '/d/a /d/f',
      '/d/f',
    ])
  })

  it('renamed over another lead to the one or to the other', async () => {
    const { disk } = await diskWithFile()
    const made = await disk.open('/d/f.tmp', 'create')
    await made.write(bytes(10), 0)
    await made.sync()
    await disk.syncDirectory('/d')
    await disk.rename('/d/f.tmp', '/d/f')
    const seen = outcomes(disk, (cut) => `${cut.paths().join(' ')} ${sizeAt(cut)}`)
    expect([...seen].sort()).toEqual(['/d/f /d/f.tmp 1000', '/d/f 10'])
  })

  it('renamed from one directory to another are in one of them, and syncing either settles it', async () => {
    const { disk } = await diskWithFile()
    await disk.makeDirectory('/e')
    await disk.syncDirectory('/')
    await disk.rename('/d/f', '/e/f')
    expect(outcomes(disk, (cut) => cut.paths().join())).toEqual(new Set(['/d/f', '/e/f']))
    const other = disk.fork()
    await other.syncDirectory('/e')
    expect(outcomes(other, (cut) => cut.paths().join())).toEqual(new Set(['/e/f']))
  })

  it('behave as in any file system', async () => {
    const { disk, file } = await diskWithFile()
    await expect(disk.open('/d/none', 'read')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(disk.open('/none/f', 'create')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(disk.open('/d/f/g', 'create')).rejects.toMatchObject({ code: 'ENOTDIR' })
    await expect(disk.open('/d', 'read')).rejects.toMatchObject({ code: 'EISDIR' })
    await expect(disk.rename('/d/none', '/d/g')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(disk.sizeOf('/d/none')).rejects.toMatchObject({ code: 'ENOENT' })
    await disk.remove('/d/none')
    expect([await disk.list('/none'), await disk.list('/d'), await disk.list('/d/f')]).toEqual([
      [],
      ['f'],
      [],
    ])
    await disk.remove('/d/f')
    expect(await file.size()).toBe(1000)
    await file.close()
    await expect(file.size()).rejects.toMatchObject({ code: 'EBADF' })
    await disk.makeDirectory('/d/a/b')
    await disk.open('/d/a/b/c', 'create')
    await disk.removeTree('/d/a')
    expect(await disk.list('/d')).toEqual([])
  })

  it('are claimed by one at a time, and a crash frees them', async () => {
    const { disk } = await diskWithFile()
    const lock = await disk.lock('/data')
    await expect(disk.lock('/data')).rejects.toMatchObject({ code: 'RTK_STORE_LOCKED' })
    await disk.fork().lock('/data')
    await lock.release()
    await disk.lock('/data')
  })
})

describe('faults', () => {
  const codesOf = async (calls: number, run: () => Promise<unknown>): Promise<string[]> => {
    const codes: string[] = []
    for (let i = 0; i < calls; i++) {
      codes.push(
        await run().then(
          () => 'ok',
          (error: { code: string }) => error.code,
        ),
      )
    }
    return codes
  }

  it('hit the nth call, some times or for ever, by path, until the disk heals', async () => {
    const { disk, file } = await diskWithFile()
    disk.inject({ call: 'sync', path: 'f', nth: 2, times: 2, code: 'EIO' })
    disk.inject({ call: 'sync', path: /other/, code: 'EROFS' })
    expect(await codesOf(5, () => file.sync())).toEqual(['ok', 'EIO', 'EIO', 'ok', 'ok'])
    disk.inject({ call: ['truncate', 'write'], code: 'EROFS' })
    expect(await codesOf(2, () => file.truncate(1))).toEqual(['EROFS', 'EROFS'])
    disk.heal()
    expect(await codesOf(1, () => file.truncate(1))).toEqual(['ok'])
  })

  it('come at a rate that follows from the seed', async () => {
    const run = async (): Promise<string[]> => {
      const { disk, file } = await diskWithFile()
      disk.inject({ call: 'size', code: 'EIO', probability: 0.3 })
      return codesOf(200, () => file.size())
    }
    const codes = await run()
    const failed = codes.filter((code) => code === 'EIO').length
    expect(failed).toBeGreaterThan(30)
    expect(failed).toBeLessThan(90)
    expect(await run()).toEqual(codes)
  })

  it('a failed sync drops what it did not write, and the next one lies', async () => {
    const { disk, file } = await diskWithFile(4096)
    await file.write(bytes(4096, 2), 0)
    disk.inject({ call: 'sync', code: 'EIO', times: 1 })
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
    await file.sync()
    expect(disk.contents('/d/f')).toEqual(bytes(4096, 2))
    const left = disk.powerCut({ survival: 'everything' }).contents('/d/f')
    expect(new Set(left)).toEqual(new Set([1, 2]))
    disk.dropCaches()
    expect(disk.contents('/d/f')).toEqual(left)
    await file.write(bytes(4096, 2), 0)
    await file.sync()
    expect(disk.powerCut({ survival: 'nothing' }).contents('/d/f')).toEqual(bytes(4096, 2))
  })

  it('a failed sync loses new blocks for good, until they are cut off; those that were there before it does not', async () => {
    const seen = new Set<string>()
    for (let seed = 1; seed < 40; seed++) {
      const { disk, file } = await diskWithFile(4096, seed)
      await file.write(bytes(8192, 2), 0)
      disk.inject({ call: 'sync', code: 'EIO', times: 1 })
      await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
      const again = await disk.open('/d/f', 'write')
      await again.write(bytes(8192, 3), 0)
      await again.sync()
      const killed = disk.fork()
      expect(killed.contents('/d/f')).toEqual(bytes(8192, 3))
      const left = killed.powerCut().contents('/d/f')
      expect(left.subarray(0, 4096)).toEqual(bytes(4096, 3))
      seen.add(left.subarray(4096).join())
      await again.truncate(4096)
      await again.write(bytes(4096, 4), 4096)
      await again.sync()
      expect(disk.powerCut().contents('/d/f').subarray(4096)).toEqual(bytes(4096, 4))
    }
    expect(seen).toEqual(new Set([bytes(4096, 3).join(), bytes(4096, 0).join()]))
  })

  it('a failed sync that keeps its pages may be tried again', async () => {
    const { disk, file } = await diskWithFile()
    await file.write(bytes(1000, 2), 0)
    disk.inject({ call: 'sync', code: 'EIO', times: 1, dirtyPages: 'kept' })
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
    await file.sync()
    expect(disk.powerCut({ survival: 'nothing' }).contents('/d/f')).toEqual(bytes(1000, 2))
  })

  it('syncs that lie, writes that are short, lost or misdirected', async () => {
    const { disk, file } = await diskWithFile(4096)
    disk.inject({ call: 'write', effect: 'short', times: 1 })
    const written = await file.write(bytes(100, 2), 0)
    expect(written).toBeGreaterThan(0)
    expect(written).toBeLessThan(100)
    disk.inject({ effect: 'lie', times: 1 })
    await file.sync()
    expect(disk.powerCut({ survival: 'nothing' }).contents('/d/f')).toEqual(bytes(4096, 1))
    await file.sync()
    disk.inject({ effect: 'lost', times: 1 })
    expect(await file.write(bytes(512, 3), 512)).toBe(512)
    await file.sync()
    expect([disk.contents('/d/f')[512], disk.powerCut().contents('/d/f')[512]]).toEqual([3, 1])
    disk.inject({ effect: 'misdirected', times: 1 })
    await file.write(bytes(512, 4), 4096)
    await file.sync()
    const where = disk.powerCut().contents('/d/f')
    expect([where.length, where.indexOf(4) % 512, where.indexOf(4) < 4096]).toEqual([4608, 0, true])
  })

  it('room that ends and is freed', async () => {
    const { disk, file } = await diskWithFile(1000)
    disk.capacityBytes = 1500
    expect(await file.write(bytes(800), 900)).toBe(600)
    await expect(file.write(bytes(10), 1500)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(await file.write(bytes(10), 0)).toBe(10)
    await file.truncate(100)
    expect([await file.write(bytes(10), 100), disk.usedBytes]).toEqual([10, 110])
    await disk.remove('/d/f')
    expect(disk.usedBytes).toBe(110)
    await file.close()
    expect(disk.usedBytes).toBe(0)
  })

  it('descriptors that run out, decay, and calls that wait', async () => {
    const disk = simulatedDisk({ descriptorsMax: 1 })
    const file = await disk.open('/f', 'create')
    await expect(disk.open('/g', 'create')).rejects.toMatchObject({ code: 'EMFILE' })
    await file.write(bytes(10, 0), 0)
    await file.sync()
    await disk.syncDirectory('/')
    disk.flipBit('/f', 3, 2)
    expect(disk.powerCut({ survival: 'nothing' }).contents('/f')[3]).toBe(4)
    const release = disk.hold({ call: 'sync' })
    let done = false
    const sync = file.sync().then(() => {
      done = true
    })
    await file.size()
    await file.size()
    expect(done).toBe(false)
    release()
    await sync
    expect(disk.openDescriptors).toBe(1)
  })

  it('must make sense', () => {
    expect(() => simulatedDisk().inject({ call: 'sync' })).toThrow(TypeError)
    expect(() => simulatedDisk().inject({ code: 'EIO', effect: 'lie' })).toThrow(TypeError)
    expect(() => simulatedDisk({ pageBytes: 1000 })).toThrow(TypeError)
  })
})

describe('a run', () => {
  async function run(seed: number): Promise<SimulatedDisk> {
    const { disk, file } = await diskWithFile(100, seed)
    disk.inject({ call: 'write', effect: 'short', probability: 0.5 })
    await Promise.all([1, 2, 3, 4, 5, 6].map((value) => file.write(bytes(50, value), 0)))
    return disk
  }

  it('is the same for the same seed, and another for others', async () => {
    const [one, same] = [await run(3), await run(3)]
    expect(same.trace).toEqual(one.trace)
    expect(same.hash).toBe(one.hash)
    const others = await Promise.all(Array.from({ length: 20 }, (_, seed) => run(seed)))
    expect(new Set(others.map(({ hash }) => hash)).size).toBe(20)
    expect(new Set(others.map((disk) => disk.contents('/d/f')[0])).size).toBeGreaterThan(1)
  })

  it('is not changed by forks and power cuts on its way', async () => {
    const crashing = simulatedDisk({ seed: 5 })
    const plain = simulatedDisk({ seed: 5 })
    let crashes = 0
    crashing.onCall = () => {
      crashes++
      crashing.fork()
      crashing.powerCut()
    }
    for (const disk of [crashing, plain]) {
      const file = await disk.open('/f', 'create')
      for (let i = 0; i < 5; i++) await file.write(bytes(600, i), i * 300)
    }
    expect(crashes).toBe(6)
    expect([crashing.hash, crashing.contents('/f')]).toEqual([plain.hash, plain.contents('/f')])
  })

  it('goes on beside its forks, each with its own files', async () => {
    const { disk, file } = await diskWithFile(100)
    const copy = disk.fork()
    await file.write(bytes(100, 2), 0)
    const other = await copy.open('/d/f', 'write')
    await other.write(bytes(100, 3), 0)
    await copy.remove('/d/f')
    expect(disk.contents('/d/f')).toEqual(bytes(100, 2))
    expect(copy.paths()).toEqual([])
    expect(disk.trace.at(-1)).toMatchObject({
      call: 'write',
      descriptor: 1,
      position: 0,
      bytes: 100,
      result: 'ok',
    })
  })
})
