/**
 * Writes to a device that fails in the midst of syncs and then works again:
 * `npm run test:failing-device -- --rounds 40 --seed 7 --report device.json`.
 *
 * A writer appends batches at levels `os` and `fsync` to logs on an ext4 whose device has no room for new blocks, again and
 * again; each time it gets some more, and in the end enough. The writer goes on, the power is cut, and the copy of the device
 * is mounted: every batch that was acknowledged at `fsync` must be there, and so must every one that was acknowledged at an
 * offset before one of those, also where a sync failed in between.
 *
 * Needs root, to mount, and loop devices; without, the cases are skipped.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodeChecksum, nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, batteryOptions } from '../harness/battery.ts'
import { Mounts, missingFor, ownNamespace } from '../harness/mounts.ts'
import { brokenPromise, findPlanted } from '../harness/planted-cases.ts'
import { cleanEnvironment } from '../harness/server-process.ts'
import { readLog } from '../simdisk/storage.ts'
import { FailingDevice } from './device.ts'
import { type Acked, type DeviceEvent, logIds, logOptions } from './protocol.ts'

const failuresOfRound = 4
const acksAtTheEnd = 40
const patienceMs = 20_000
const roundsToFindABug = 10
const noLoop = existsSync('/dev/loop-control') ? undefined : 'needs loop devices'
const reason = (await ownNamespace()) ?? noLoop ?? missingFor('ext4')
const { rounds, seed, report } = batteryOptions({ rounds: 5 })
const battery = new Battery(report)
const checksum = nodeChecksum()
process.stdout.write(`failing-device: ${rounds} rounds, seed ${seed}\n`)

/** What rounds came to. */
interface Tally {
  acked: number
  failures: number
  /** Batches that had to be there. */
  due: number
  /** Of those, the ones that were acknowledged at `os`. */
  dueAtOs: number
}

class Writer implements AsyncDisposable {
  readonly acked: Acked[] = []
  failures = 0
  readonly #child
  readonly #ended: Promise<unknown>
  #errors = ''
  #hasEnded = false

  constructor(directory: string, seed: number, bug: string | undefined) {
    const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
    const preload = bug === undefined ? [] : ['--import', here('../harness/plant.ts')]
    this.#child = spawn(
      process.execPath,
      ['--conditions=source', ...preload, here('writer.ts'), directory, `${seed}`],
      {
        env: cleanEnvironment(bug === undefined ? {} : { RATATOSKR_PLANTED: bug }),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    this.#child.stderr.on('data', (bytes) => {
      this.#errors += bytes
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#on(JSON.parse(line)))
    this.#ended = once(this.#child, 'close').then(() => {
      this.#hasEnded = true
    })
  }

  get syncedAcks(): number {
    return this.acked.filter(({ level }) => level === 'fsync').length
  }

  /** @throws Error when it takes too long, or the writer ends */
  async until(what: string, isSo: () => boolean): Promise<void> {
    const giveUpMs = performance.now() + patienceMs
    while (!isSo()) {
      if (this.#hasEnded) throw new Error(`the writer ended: ${this.#errors}`)
      if (performance.now() > giveUpMs) throw new Error(`no ${what} within ${patienceMs / 1000} s`)
      await pause(5)
    }
  }

  /** Stops it where it is: a device that is written to cannot be copied as it is at one moment. */
  async hold(): Promise<void> {
    this.#child.kill('SIGSTOP')
    await pause(100)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  #on(event: DeviceEvent): void {
    if (event.is === 'acked') this.acked.push(event)
    else this.failures++
  }
}

async function round(mounts: Mounts, number: number, bug: string | undefined, tally: Tally): Promise<void> {
  const random = seededDraw(seed + number)
  const copy = join(mounts.directory, 'copied-image')
  let acked: readonly Acked[]
  {
    using device = new FailingDevice(mounts)
    await using writer = new Writer(join(device.path, 'data'), seed + number, bug)
    for (let failure = 0; failure < failuresOfRound; failure++) {
      const before = writer.failures
      await writer.until('failure of the device', () => writer.failures > before)
      // Sometimes the writer tries again while the device still fails.
      await pause(random() * 100)
      device.giveRoom(failure + 1 < failuresOfRound ? 200 + Math.floor(random() * 800) : 40 * 1024)
    }
    const before = writer.syncedAcks
    await writer.until('acknowledgements in the end', () => writer.syncedAcks >= before + acksAtTheEnd)
    acked = [...writer.acked]
    await writer.hold()
    device.copyTo(copy)
    tally.failures += writer.failures
  }
  const path = mounts.image('copy', copy, 'ext4')
  try {
    await verify(join(path, 'data'), acked, tally)
  } finally {
    mounts.unmount(path)
    rmSync(copy)
  }
}

/** @throws Error when something is not there that must be */
async function verify(directory: string, acked: readonly Acked[], tally: Tally): Promise<void> {
  const { logs } = diskStorage({ directory }).open(nodePlatform({ logger: silentLogger }))
  await logs.start()
  try {
    for (const [place, id] of logIds.entries()) {
      const mine = acked.filter(({ log }) => log === place)
      const last = Math.max(...mine.filter(({ level }) => level === 'fsync').map(({ offset }) => offset))
      const due = mine.filter(({ offset }) => offset <= last)
      const { batches } = await readLog(await logs.openLog(id, logOptions))
      const there = new Map(batches.map(({ base, bytes }) => [base, checksum(bytes)]))
      const lost = due.filter(({ offset, crc }) => there.get(offset) !== crc)
      tally.acked += mine.length
      tally.due += due.length
      tally.dueAtOs += due.filter(({ level }) => level === 'os').length
      if (lost.length === 0) continue
      const synced = lost.filter(({ level }) => level === 'fsync').length
      throw new Error(
        `${lost.length} of ${due.length} batches are lost, ${synced} of them acknowledged at fsync, the first at offset ${lost[0].offset}`,
      )
    }
  } finally {
    await logs.stop()
  }
}

async function keepsItsWord(mounts: Mounts): Promise<string> {
  const tally: Tally = { acked: 0, failures: 0, due: 0, dueAtOs: 0 }
  for (let number = 0; number < rounds; number++) {
    await round(mounts, number, undefined, tally).catch((error: Error) => {
      throw new Error(`round ${number + 1}: ${error.message}`, { cause: error })
    })
  }
  const { acked, failures, due, dueAtOs } = tally
  if (dueAtOs === 0 || failures === 0) throw new Error('there was nothing to lose')
  return `${acked} acknowledged, ${failures} failures; ${due} due after the power cut, ${dueAtOs} of them at os, none lost`
}

/** The planted bug must be found. */
async function findBug(mounts: Mounts, bug: string): Promise<string> {
  for (let number = 0; number < roundsToFindABug; number++) {
    const tally: Tally = { acked: 0, failures: 0, due: 0, dueAtOs: 0 }
    const broken = await brokenPromise(() => round(mounts, number, bug, tally), /are lost/)
    if (broken !== undefined) return `found in round ${number + 1}: ${broken}`
  }
  throw new Error(`not found in ${roundsToFindABug} rounds`)
}

if (reason !== undefined) {
  battery.skip('a device that fails at fdatasync', reason)
} else {
  using mounts = new Mounts()
  await battery.run(`a device that fails at fdatasync, ${rounds} times`, () => keepsItsWord(mounts))
  await findPlanted(battery, 'failing-device', (bug) => findBug(mounts, bug))
}
await battery.finish()
