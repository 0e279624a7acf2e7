/** Dumping a file of batches, whatever state it is in. */
import { execFileSync } from 'node:child_process'
import { appendFile, copyFile, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { batchStarts } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type DumpedPart, dumpBatches } from '../index.ts'
import { flip, id, name, platform, range, SampleDirectory } from '../testing/sample-directory.ts'

const at = new SampleDirectory()

beforeEach(() => at.make())
afterEach(() => at.remove())

describe('dumping a file', () => {
  const dumped = async (path: string, offsets = {}): Promise<string[]> => {
    const parts: string[] = []
    for await (const part of dumpBatches(path, platform.checksum, offsets)) parts.push(lineOf(part))
    return parts
  }
  const lineOf = (part: DumpedPart): string => {
    if (part.kind === 'batch') return `batch at ${part.position}`
    return part.kind === 'gap' ? `gap ${part.offset} to ${part.endOffset}` : `torn at ${part.position}`
  }

  it('goes on after damage, and tells the torn end', async () => {
    const path = (await at.segments())[3]
    const starts = [...batchStarts(await readFile(path))]
    await flip(path, starts[1] + 80)
    await appendFile(path, 'half')
    expect(await dumped(path)).toEqual([
      `batch at ${starts[0]}`,
      'gap 20 to 22',
      `batch at ${starts[2]}`,
      expect.stringMatching(/^(torn at|gap 24)/),
    ])
    expect(await dumped(path, { from: 22 })).toEqual([`batch at ${starts[2]}`, expect.anything()])
    expect(await dumped(path, { to: 19 })).toEqual([`batch at ${starts[0]}`])
  })

  it('reads what a start has cut off the end, for there were whole batches in it', async () => {
    const path = (await at.segments())[3]
    const { size } = await stat(path)
    const [old] = await at.segments()
    await appendFile(path, Buffer.concat([Buffer.from('junk'), await readFile(old)]))
    expect(await at.readable()).toEqual(range(0, 24))
    expect((await stat(path)).size).toBe(size)
    const kept = `${id.topicId}-0-${name(18)}.cut-at-${size}`
    expect(await readdir(join(at.directory, 'quarantine'))).toEqual([kept])
    const parts = await dumped(join(at.directory, 'quarantine', kept))
    expect(parts).toEqual([
      'gap 0 to 0',
      ...[...batchStarts(await readFile(old))].map((at) => `batch at ${at + 4}`),
    ])
    // The same once more is kept once; an end without a whole batch is not kept.
    await appendFile(path, Buffer.concat([Buffer.from('junk'), await readFile(old)]))
    expect(await at.readable()).toEqual(range(0, 24))
    await appendFile(path, (await readFile(old)).subarray(0, 100))
    expect(await at.readable()).toEqual(range(0, 24))
    expect(await readdir(join(at.directory, 'quarantine'))).toEqual([kept])
  })

  it('of zeros, however large, takes little memory', async () => {
    const path = join(at.directory, name(0))
    await writeFile(path, '')
    await truncate(path, 256 * 1024 * 1024)
    // Not maxRSS alone: on Linux a process begins with that of the one which started it, and workers of the test runner are large.
    const script = `
      const { existsSync, readFileSync } = await import('node:fs')
      const { dumpBatches } = await import('ratatoskr/adapters/disk')
      const { nodePlatform } = await import('ratatoskr/adapters/node')
      for await (const part of dumpBatches(${JSON.stringify(path)}, nodePlatform().checksum)) console.log(part.kind)
      const own = existsSync('/proc/self/status') && /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))
      console.log(own ? own[1] : process.resourceUsage().maxRSS)`
    const options = ['--conditions=source', '--input-type=module', '-e', script]
    const [kind, maxRssKilobytes] = execFileSync(process.execPath, options, { encoding: 'utf8' }).split('\n')
    expect(kind).toBe('torn')
    expect(Number(maxRssKilobytes)).toBeLessThan(160_000)
  })

  it('reads what is in quarantine, and refuses other names', async () => {
    const kept = join(at.directory, `${id.topicId}-0-${name(6)}.2`)
    await copyFile((await at.segments())[1], kept)
    expect((await dumped(kept)).length).toBe(3)
    await expect(dumped(join(at.directory, 'format.json'))).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    await expect(dumped(join(at.logDirectory, name(7)))).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
  })
})
