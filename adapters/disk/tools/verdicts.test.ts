/** A check of a data directory says of each damage what a broker then does: refuse it, lose records, or neither. */
import { execFileSync } from 'node:child_process'
import {
  appendFile,
  copyFile,
  cp,
  mkdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { batchStarts, type LogId, RatatoskrError, utf8 } from 'ratatoskr/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskStorage, type Finding, verifyDataDirectory } from '../index.ts'
import { makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const platform = nodePlatform({ logger: silentLogger })
const records = 24

/** What becomes of a directory: of the start, or of the log in it. */
type Verdict = 'refused' | 'lost' | 'whole'

let root: string
let sample: string

beforeAll(async () => {
  root = await makeDirectory()
  sample = join(root, 'sample')
  const { logs, state } = diskStorage({ directory: sample }).open(platform)
  await state.start()
  await state.put('topics/default/orders', utf8(JSON.stringify({ id: id.topicId })))
  await logs.start()
  const log = await logs.openLog(id, { segmentBytes: 500 })
  while (log.endOffset < records) {
    const baseOffset = log.endOffset
    await log.append(sampleBatch({ baseOffset, count: 2, payloadBytes: 30 }), baseOffset, 2, 'fsync')
  }
  await logs.stop()
  await state.stop()
})

afterAll(() => rm(root, { recursive: true, force: true }))

const part = `logs/${id.topicId}/0`
const segment = (base: number, ending = 'log'): string =>
  `${part}/${String(base).padStart(20, '0')}.${ending}`
const stateFile = (ending: string): string => `state/${'1'.padStart(20, '0')}.${ending}`

/** What a check says that the broker would do. */
async function told(directory: string): Promise<{ verdict: Verdict; errors: Finding[] }> {
  const errors: Finding[] = []
  for await (const finding of verifyDataDirectory(directory, platform.checksum))
    if (finding.severity === 'error') errors.push(finding)
  for (const { problem, advice } of errors)
    expect([problem, advice]).toEqual([expect.any(String), expect.any(String)])
  const refuses = errors.some(({ problem }) => problem?.includes('the broker refuses'))
  return { verdict: refuses ? 'refused' : errors.length > 0 ? 'lost' : 'whole', errors }
}

/** What a broker does. */
async function done(directory: string): Promise<{ verdict: Verdict; error?: RatatoskrError }> {
  const { logs, state } = diskStorage({ directory }).open(platform)
  const refused = (error: unknown) => ({ verdict: 'refused', error: error as RatatoskrError }) as const
  try {
    await state.start()
  } catch (error) {
    return refused(error)
  }
  try {
    const topic = await state.get('topics/default/orders')
    await logs.start()
    try {
      const log = await logs.openLog(id, { segmentBytes: 500 })
      const found = new Set<number>()
      for (let offset = log.startOffset; offset < log.stableOffset; offset++) {
        const read = (async () => log.read(offset, 1))()
        await read.then(
          () => found.add(offset),
          (error) => expect(error.code).toBe('RTK_STORE_CORRUPT'),
        )
      }
      // What was lost without a trace nobody can tell.
      const isWhole = topic !== undefined && found.size === log.stableOffset - log.startOffset
      expect([...found].every((offset) => offset < records)).toBe(true)
      return { verdict: isWhole ? 'whole' : 'lost' }
    } finally {
      await logs.stop()
    }
  } catch (error) {
    return refused(error)
  } finally {
    await state.stop()
  }
}

type Damage = (at: (path: string) => string) => Promise<unknown>

const flip =
  (path: string, position: number): Damage =>
  async (at) => {
    const bytes = await readFile(at(path))
    bytes[position < 0 ? bytes.length + position : position] ^= 1
    await writeFile(at(path), bytes)
  }
const both =
  (...damages: Damage[]): Damage =>
  async (at) => {
    for (const damage of damages) await damage(at)
  }
const remove =
  (...paths: string[]): Damage =>
  (at) =>
    Promise.all(paths.map((path) => rm(at(path), { recursive: true })))
const kinds: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
  'a file': (path) => writeFile(path, 'hello'),
  'a directory': (path) => mkdir(path),
  'a pipe': async (path) => execFileSync('mkfifo', [path]),
  'a socket': async (path) => {
    // A socket stays where it is made by a process that is killed.
    const short = join(await makeDirectory(), 's')
    const script = `require('node:net').createServer().listen(${JSON.stringify(short)}, () => process.kill(process.pid, 'SIGKILL'))`
    try {
      execFileSync(process.execPath, ['-e', script], { stdio: 'ignore' })
    } catch {
      await rename(short, path)
    }
  },
  'a device': (path) => symlink('/dev/zero', path),
  'a link that leads nowhere': (path) => symlink('/nowhere/at/all', path),
}
const replaced =
  (path: string, kind: string): Damage =>
  async (at) => {
    await rm(at(path), { recursive: true })
    await kinds[kind](at(path))
  }
const fill =
  (path: string, bytes: Uint8Array): Damage =>
  (at) =>
    writeFile(at(path), bytes)
const copied =
  (from: string, to: string): Damage =>
  (at) =>
    copyFile(at(from), at(to))
const cut =
  (path: string, batches: number): Damage =>
  async (at) => {
    const starts = [...batchStarts(await readFile(at(path)))]
    await truncate(at(path), starts[batches])
  }
const appended =
  (path: string, from: string): Damage =>
  async (at) =>
    appendFile(at(path), await readFile(at(from)))

const damages: [what: string, damage: Damage, withNote: Verdict, withoutNote?: Verdict][] = [
  ['nothing', async () => undefined, 'whole'],
  ['no state/', remove('state'), 'refused'],
  ['no files in state/', remove(stateFile('log'), stateFile('copy')), 'refused'],
  [
    'zeros in the state',
    both(fill(stateFile('log'), new Uint8Array(99)), fill(stateFile('copy'), new Uint8Array(99))),
    'refused',
  ],
  ['one copy of the state', remove(stateFile('copy')), 'whole'],
  ['one damaged copy of the state', flip(stateFile('log'), -3), 'whole'],
  ['no segment at the front', remove(segment(0), segment(0, 'index')), 'lost', 'whole'],
  ['no segment at the front, but its index', remove(segment(0)), 'lost'],
  ['no segment in the middle', remove(segment(6), segment(6, 'index')), 'lost'],
  ['two segments in the middle', remove(segment(6), segment(12)), 'lost'],
  ['no segment at the end', remove(segment(18), segment(18, 'index')), 'lost', 'whole'],
  ['no segment at the end, but its index', remove(segment(18)), 'lost'],
  ['no segments', remove(part), 'lost', 'whole'],
  ['a damaged batch', flip(segment(6), 200), 'lost'],
  ['a damaged batch at the end', flip(segment(18), -1), 'lost'],
  ['an empty segment in the middle', fill(segment(6), new Uint8Array(0)), 'lost'],
  ['a segment that ends early', cut(segment(6), 1), 'lost'],
  ['a last segment that ends early', cut(segment(18), 1), 'lost'],
  ['a copy of a segment under another name', copied(segment(6), segment(8)), 'refused'],
  ['a copy in place of another segment', copied(segment(6), segment(12)), 'lost'],
  ['half a batch at the end', (at) => appendFile(at(segment(18)), 'half a batch'), 'whole'],
  ['an old segment behind the end', appended(segment(18), segment(0)), 'whole'],
  ['damaged indexes', both(flip(segment(0, 'index'), 30), flip(segment(18, 'index'), 30)), 'whole'],
  ['no indexes', remove(...[0, 6, 12, 18].map((base) => segment(base, 'index'))), 'whole'],
  ['a damaged note', fill('clean', utf8('a note that is none')), 'whole'],
  ['another format', fill('format.json', utf8('{"format":7}')), 'refused'],
  ...Object.keys(kinds).flatMap((kind): typeof damages => [
    ...(kind === 'a file'
      ? []
      : ([
          [`${kind} in place of the first segment`, replaced(segment(0), kind), 'refused'],
          [`${kind} in place of a segment`, replaced(segment(6), kind), 'refused'],
          [`${kind} in place of the last segment`, replaced(segment(18), kind), 'refused'],
          [`${kind} in place of an index`, replaced(segment(6, 'index'), kind), 'whole'],
          [`${kind} in place of the reserve`, replaced('reserve', kind), 'whole'],
          [
            `${kind} in place of a file of the state`,
            replaced(stateFile('log'), kind),
            kind.includes('link') ? 'whole' : 'refused',
          ],
        ] as typeof damages)),
    ...(kind === 'a directory'
      ? []
      : ([
          [`${kind} in place of a partition`, replaced(part, kind), 'refused'],
          [`${kind} in place of a topic`, replaced(`logs/${id.topicId}`, kind), 'refused'],
          [`${kind} in place of logs/`, replaced('logs', kind), 'refused'],
          [`${kind} in place of state/`, replaced('state', kind), 'refused'],
        ] as typeof damages)),
  ]),
]

describe.each([
  ['after a clean stop', true],
  ['after a crash', false],
] as const)('%s', (_, hasNote) => {
  it.each(damages)('%s', async (what, damage, withNote, withoutNote = withNote) => {
    const directory = join(root, `${what.replaceAll(/\W+/g, '-')}-${hasNote}`)
    await cp(sample, directory, { recursive: true })
    if (!hasNote) await rm(join(directory, 'clean'))
    await damage((path) => join(directory, path))
    const { verdict: said, errors } = await told(directory)
    const { verdict: did, error } = await done(directory)
    expect({ said, did, errors, error }).toMatchObject({
      said: hasNote ? withNote : withoutNote,
      did: hasNote ? withNote : withoutNote,
    })
    if (error === undefined) return
    expect(error).toBeInstanceOf(RatatoskrError)
    expect(error.message).toMatch(/log (verify|repair)|use the version/)
    expect(error.message).not.toContain('the disk failed')
    // A publisher is told the code of what a log is refused with; others would be tried again.
    if (errors.every(({ file }) => file.startsWith(part))) expect(error.code).toBe('RTK_STORE_CORRUPT')
  })
})
