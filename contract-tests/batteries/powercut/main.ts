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
 * acknowledged in at least 95 of 100 cuts.
 *
 * A device here keeps all that it was given, in order: one that loses what was not flushed is what the simulated disk is for.
 * Needs root, loop devices and xfsprogs; without, the cases are skipped.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, batteryOptions } from '../harness/battery.ts'
import { cloneFile, type ImageKind, Mounts, makeImage, missingFor, ownNamespace } from '../harness/mounts.ts'
import { findPlanted } from '../harness/planted-cases.ts'
import { Writer } from './process.ts'
import { machineMs } from './protocol.ts'
import { type Cut, type CutReport, dueAtCut, verifyStore } from './verify.ts'

const kinds: readonly ImageKind[] = ['ext4', 'xfs']
const cutsPerImage = 10
const megabytes: Record<ImageKind, number> = { ext4: 256, xfs: 512 }
const lossShareMin = 0.95

const reason = (await ownNamespace()) ?? missingFor('ext4') ?? missingFor('xfs')
const { rounds, seed, report } = batteryOptions({ rounds: 20 })
const battery = new Battery(report)
const random = seededDraw(seed)
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
  const due = { fsync: sum((one) => one.due.fsync), interval: sum((one) => one.due.interval) }
  const changes = sum(({ changesDue }) => changesDue)
  const told = `${due.fsync} of fsync, ${due.interval} of interval and ${changes} changes of state were due`
  // A message of interval is due later: a few cuts may all be too soon for one.
  if (due.fsync === 0 || changes === 0 || (due.interval === 0 && cuts >= cutsPerImage)) {
    throw new Error(`there was nothing to lose: ${told}`)
  }
  return (
    `${told}, none lost; lost as allowed: ${sum(({ lost }) => lost.os)} of os, ` +
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
    // Only a broken promise counts: the battery itself might fail as well.
    if (!/broken promises|the state is/.test(result.message)) throw result
    lost++
    example ||= result.message.replace(/\s+/g, ' ').slice(0, 80)
  })
  const text = `found by ${lost} of ${cuts} cuts (${Math.round((100 * lost) / cuts)} %): ${example}`
  if (lost < lossShareMin * cuts) throw new Error(text)
  return text
}

if (reason !== undefined) {
  for (const kind of kinds) battery.skip(`power cuts on ${kind}`, reason)
} else {
  using mounts = new Mounts()
  const memory = mounts.tmpfs('memory', '1536m')
  makeImage(join(memory, 'host'), 'xfs', 2048, ['-m', 'reflink=1'])
  const host = mounts.image('host', join(memory, 'host'), 'xfs')
  for (const kind of kinds) {
    const cuts = Math.ceil(rounds / kinds.length)
    await battery.run(`${cuts} power cuts on ${kind}`, () => keepsItsWord(mounts, host, kind, cuts))
    const bugCuts = Math.max(5, Math.ceil(cuts / 5))
    await findPlanted(battery, 'powercut', (bug) => losesWithBug(mounts, host, kind, bugCuts, bug), {
      title: `planted on ${kind}`,
    })
  }
}
await battery.finish()
