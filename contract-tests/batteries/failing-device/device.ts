/**
 * A block device that fails and works again: a loop device whose image lies on a file system in memory that is full. What the
 * file system on it has written before goes on to work; a block that was never written fails at the sync.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Mounts, makeImage } from '../harness/mounts.ts'

const imageMegabytes = 96
/** The file system's own blocks lie in the first part, all together: a device that loses those is not used any more. */
const ownMegabytes = 10
const roomMegabytes = 16
const options = ['-b', '4096', '-N', '2048', '-J', 'size=4']
const layout = ['-E', 'lazy_itable_init=0,nodiscard,packed_meta_blocks=1']

export class FailingDevice implements Disposable {
  /** Where its file system is mounted. */
  readonly path: string
  readonly #mounts: Mounts
  readonly #memory: string
  readonly #image: string
  readonly #limitFile: string
  readonly #limitBefore: string
  #kilobytes = roomMegabytes * 1024

  constructor(mounts: Mounts) {
    this.#mounts = mounts
    this.#memory = mounts.tmpfs('failing-memory', `${roomMegabytes}m`)
    this.#image = join(this.#memory, 'image')
    makeImage(this.#image, 'ext4', imageMegabytes, [...options, ...layout])
    settle(this.#image)
    this.path = mounts.image('failing', this.#image, 'ext4')
    const device = basename(run('findmnt', ['-n', '-o', 'SOURCE', this.path]))
    // Of a larger write that its file takes in part, a loop device says that all is well.
    this.#limitFile = `/sys/block/${device}/queue/max_sectors_kb`
    this.#limitBefore = readFileSync(this.#limitFile, 'utf8')
    writeFileSync(this.#limitFile, '4')
  }

  /** From now on so many more bytes can be written. */
  giveRoom(kilobytes: number): void {
    this.#kilobytes += kilobytes
    run('mount', ['-o', `remount,size=${this.#kilobytes}k`, this.#memory])
  }

  /** What is on the device at this moment: what a power cut leaves. */
  copyTo(file: string): void {
    run('cp', ['--sparse=always', this.#image, file])
  }

  [Symbol.dispose](): void {
    // What is still in memory then finds room.
    this.giveRoom(imageMegabytes * 1024)
    writeFileSync(this.#limitFile, this.#limitBefore)
    this.#mounts.unmount(this.path)
    this.#mounts.unmount(this.#memory)
  }
}

/** Gives the first part of an image room of its own. */
function settle(image: string): void {
  const bytes = Buffer.alloc(ownMegabytes * 1024 * 1024)
  const file = openSync(image, 'r+')
  try {
    writeSync(file, bytes, 0, readSync(file, bytes, 0, bytes.length, 0), 0)
  } finally {
    closeSync(file)
  }
}

/** @returns what the command printed */
function run(command: string, args: readonly string[]): string {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return stdout.trim()
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`)
}
