/**
 * Cuts the power of a broker's disk and reads back what it acknowledged: `npm run test:powercut -- --rounds 300 --seed 7`.
 *
 * A writer works on an ext4 or xfs in an image file. The image lies on another xfs that can share blocks between files: a
 * copy of it is made at once, with all writes to it held, and so is what the device had got at one moment, in the middle of
 * whatever the writer and its file system were doing. The copy is mounted, which replays the file system's journal as after
 * a power cut, and a broker is started on it. The writer goes on meanwhile, so that many cuts a second are possible.
 *
 * Nothing acknowledged at `fsync` may be missing; at `interval` nothing that was acknowledged longer than the interval
 * before; at `os` anything may be, but what is there must be right. A writer that does not sync must lose what it
 * acknowledged in at least 95 of 100 cuts. Then file systems whose device fails for real: it fills up below them, so that
 * fdatasync reports an error.
 *
 * A device here keeps all that it was given, in order: one that loses what was not flushed is what the simulated disk is for.
 * Needs root, loop devices and xfsprogs; without, the cases are skipped.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Battery, batteryOptions, seededRandom } from './battery.ts'
import {
  cloneFile,
  type ImageKind,
  Mounts,
  makeFailingImage,
  makeImage,
  missingFor,
  ownNamespace,
} from './battery-mounts.ts'
import { bugsOf } from './planted-bugs.ts'
import { Writer } from './powercut-process.ts'
import { machineMs } from './powercut-protocol.ts'
import { type Cut, type CutReport, dueAtCut, verifyStore } from './powercut-verify.ts'

const kinds: readonly ImageKind[] = ['ext4', 'xfs']
const cutsPerImage = 10
const megabytes: Record<ImageKind, number> = { ext4: 128, xfs: 320 }
const lossShareMin = 0.95

const reason = (await ownNamespace()) ?? missingFor('ext4') ?? missingFor('xfs')
const { rounds, seed, report } = batteryOptions({ rounds: 20 })
const battery = new Battery(report)
const random = seededRandom(seed)
process.stdout.write(`powercut: ${rounds} cuts, seed ${seed}\n`)

/** One image after the other, each with a writer of its own, until there were so many cuts. */
async function cutOften(
  mounts: Mounts,
  host: string,
  kind: ImageKind,
  cuts: number,
  plantedBug: string | undefined,
  verified: (result: CutReport | Error) => void,
): Promise<void> {
  for (let done = 0; done < cuts; done += cutsPerImage) {
    const image = join(host, 'image')
    makeImage(image, kind, megabytes[kind])
    const disk = mounts.image('disk', image, kind)
    try {
      await using writer = await Writer.start(join(disk, 'data'), seed + done, plantedBug)
      for (let i = done; i < Math.min(cuts, done + cutsPerImage); i++) {
        await pause(20 + random() * 200)
        verified(await cutOnce(mounts, host, kind, writer))
      }
    } finally {
      mounts.unmount(disk)
      rmSync(image)
    }
  }
}

/** @returns what was found, an Error for broken promises */
async function cutOnce(
  mounts: Mounts,
  host: string,
  kind: ImageKind,
  writer: Writer,
): Promise<CutReport | Error> {
  const copy = join(host, 'copy')
  const fromMs = machineMs()
  cloneFile(join(host, 'image'), copy)
  const cut: Cut = { fromMs, toMs: machineMs() }
  const told = await writer.told()
  const disk = mounts.image('cut', copy, kind)
  try {
    return await verifyStore(join(disk, 'data'), told, cut, dueAtCut(cut, told)).catch(
      (error: Error) => error,
    )
  } finally {
    mounts.unmount(disk)
    rmSync(copy)
  }
}

async function keepsItsWord(mounts: Mounts, host: string, kind: ImageKind, cuts: number): Promise<string> {
  const reports: CutReport[] = []
  await cutOften(mounts, host, kind, cuts, undefined, (result) => {
    if (result instanceof Error)
      throw new Error(`cut ${reports.length + 1}: ${result.message}`, { cause: result })
    reports.push(result)
  })
  const sum = (of: (one: CutReport) => number): number => reports.reduce((total, one) => total + of(one), 0)
  const intervalLostMs = Math.round(Math.max(...reports.map((one) => one.intervalLostMs)))
  return (
    `${sum(({ due }) => due)} due, none lost; lost as allowed: ${sum(({ lost }) => lost.os)} of os, ` +
    `${sum(({ lost }) => lost.interval)} of interval, acked up to ${intervalLostMs} ms before`
  )
}

async function losesWithBug(
  mounts: Mounts,
  host: string,
  kind: ImageKind,
  cuts: number,
  bug: string,
): Promise<string> {
  let lost = 0
  let example = ''
  await cutOften(mounts, host, kind, cuts, bug, (result) => {
    if (!(result instanceof Error)) return
    lost++
    example ||= result.message.replace(/\s+/g, ' ').slice(0, 80)
  })
  const text = `found by ${lost} of ${cuts} cuts (${Math.round((100 * lost) / cuts)} %): ${example}`
  if (lost < lossShareMin * cuts) throw new Error(text)
  return text
}

/** Fills the device below a file system until fdatasync fails, then gives it room and looks what is there. */
async function failOnce(mounts: Mounts, number: number): Promise<{ acked: number; codes: Set<string> }> {
  const memory = mounts.tmpfs('small', '24m')
  const image = join(memory, 'image')
  makeFailingImage(image, 96)
  let disk = mounts.image('failing', image, 'ext4')
  try {
    await using writer = await Writer.start(join(disk, 'data'), seed + number, undefined)
    const failures = () => writer.refused.filter(({ level }) => level === 'fsync')
    for (const begunMs = machineMs(); failures().length < 50; await pause(10)) {
      if (machineMs() - begunMs > 60_000) throw new Error('the device did not fail within 60 s')
    }
    const told = await writer.kill()
    mounts.unmount(disk)
    mounts.resize(memory, '200m')
    disk = mounts.image('failing', image, 'ext4')
    const never = { fromMs: Number.POSITIVE_INFINITY, toMs: Number.POSITIVE_INFINITY }
    // What is not synced may be lost; what was acknowledged as synced, also after the failure, may not.
    const { due } = await verifyStore(join(disk, 'data'), told, never, {
      os: 0,
      interval: 0,
      fsync: never.fromMs,
    })
    return { acked: due, codes: new Set(failures().map(({ code }) => code)) }
  } finally {
    mounts.unmount(disk)
    mounts.unmount(memory)
  }
}

async function failOften(mounts: Mounts, times: number): Promise<string> {
  const codes = new Set<string>()
  let acked = 0
  for (let i = 0; i < times; i++) {
    const result = await failOnce(mounts, i)
    acked += result.acked
    for (const code of result.codes) codes.add(code)
  }
  return `${acked} acknowledged, none lost; refused with ${[...codes].sort().join(', ')}`
}

if (reason !== undefined) {
  for (const kind of kinds) battery.skip(`power cuts on ${kind}`, reason)
  battery.skip('devices that fail at fdatasync', reason)
} else {
  using mounts = new Mounts()
  const memory = mounts.tmpfs('memory', '1536m')
  makeImage(join(memory, 'host'), 'xfs', 2048, ['-m', 'reflink=1'])
  const host = mounts.image('host', join(memory, 'host'), 'xfs')
  for (const kind of kinds) {
    const cuts = Math.ceil(rounds / kinds.length)
    await battery.run(`${cuts} power cuts on ${kind}`, () => keepsItsWord(mounts, host, kind, cuts))
    for (const { name } of bugsOf('powercut')) {
      const bugCuts = Math.max(5, Math.ceil(cuts / 5))
      await battery.run(`planted on ${kind}: ${name}`, () => losesWithBug(mounts, host, kind, bugCuts, name))
    }
  }
  const failures = Math.ceil(rounds / 6)
  await battery.run(`${failures} devices that fail at fdatasync`, () => failOften(mounts, failures))
}
await battery.finish()
