/**
 * The rings of the house, held by a test: it walks every import of every source file and fails on a wrong arrow.
 * The same rules stand in biome.json for the editor and in tsconfig.core.json for the compiler.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folders = ['src', 'adapters', 'plugins', 'proto', 'contract-tests', 'examples']

interface Ring {
  readonly name: string
  readonly has: (path: string) => boolean
  /** Paths of the project that may be imported, as prefixes; `./` is the importer's own adapter or plugin folder. */
  readonly inside: readonly string[]
  /** Packages, as names or prefixes ending in `:` or `*`. */
  readonly packages: readonly string[]
}

const under =
  (...prefixes: string[]) =>
  (path: string): boolean =>
    prefixes.some((prefix) => path === prefix || path.startsWith(prefix))

const ports = ['src/ports/index.ts']
const rings: readonly Ring[] = [
  { name: 'domain', has: under('src/domain/'), inside: ['src/domain/'], packages: [] },
  { name: 'ports', has: under('src/ports/'), inside: ['src/ports/', 'src/domain/'], packages: [] },
  {
    name: 'application',
    has: under('src/application/'),
    inside: ['src/application/', 'src/ports/', 'src/domain/'],
    packages: [],
  },
  {
    name: 'composition',
    has: under('src/composition/', 'src/index.ts'),
    inside: [
      'src/composition/',
      'src/application/',
      'src/ports/',
      'src/domain/',
      'src/client/',
      'adapters/node/',
    ],
    packages: ['tsyringe', 'reflect-metadata*'],
  },
  {
    name: 'client entry',
    has: under('src/client/index.ts', 'src/client/connect.ts'),
    inside: ['src/client/', 'src/ports/', 'src/domain/', 'adapters/node/'],
    packages: ['node:'],
  },
  {
    name: 'client links',
    has: under('src/client/links/'),
    inside: ['src/client/', 'src/ports/', 'src/domain/', 'proto/'],
    packages: ['ws', 'node:'],
  },
  {
    name: 'client',
    has: under('src/client/'),
    inside: ['src/client/', 'src/ports/', 'src/domain/'],
    packages: [],
  },
  {
    name: 'command line',
    has: under('src/cli/'),
    inside: ['src/', 'adapters/', 'plugins/'],
    packages: ['node:', 'commander', 'yaml'],
  },
  {
    name: 'proto',
    has: under('proto/'),
    inside: ['proto/'],
    packages: ['@bufbuild/protobuf*', 'node:'],
  },
  {
    // It reads large batches into the memory that carriers of frames read them into.
    name: 'gRPC adapter',
    has: under('adapters/grpc/'),
    inside: ['./', ...ports, 'proto/', 'adapters/frames/index.ts'],
    packages: ['*'],
  },
  {
    // Adapters that carry frames may import ratatoskr/adapters/frames, the broker's side of the frame protocol.
    name: 'frame carrier',
    has: under('adapters/websocket/', 'adapters/tcp/'),
    inside: ['./', ...ports, 'adapters/frames/index.ts'],
    packages: ['*'],
  },
  { name: 'adapter', has: under('adapters/'), inside: ['./', ...ports], packages: ['*'] },
  { name: 'plugin', has: under('plugins/'), inside: ['./', ...ports], packages: ['*'] },
  {
    name: 'example',
    has: under('examples/'),
    inside: [
      './',
      ...ports,
      'src/index.ts',
      'src/client/index.ts',
      'adapters/',
      'plugins/',
      'contract-tests/index.ts',
    ],
    packages: ['*'],
  },
  {
    name: 'contract suites',
    has: under('contract-tests/'),
    inside: ['contract-tests/', ...ports, 'src/index.ts', 'src/client/index.ts', 'adapters/'],
    packages: ['vitest', 'node:', 'fast-check'],
  },
]

const exportsOf = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports as Record<
  string,
  { source?: string }
>

/** The file that a specifier of our own names: relative, or `ratatoskr/…` through the exports of package.json. */
function ownFile(importer: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return posix.normalize(posix.join(posix.dirname(importer), specifier))
  if (specifier !== 'ratatoskr' && !specifier.startsWith('ratatoskr/')) return undefined
  const key = `.${specifier.slice('ratatoskr'.length)}`
  const exact = exportsOf[key]?.source
  if (exact !== undefined) return exact.slice(2)
  for (const [pattern, entry] of Object.entries(exportsOf)) {
    const star = pattern.indexOf('*')
    if (star === -1 || !key.startsWith(pattern.slice(0, star))) continue
    return entry.source?.slice(2).replace('*', key.slice(star))
  }
  return `${specifier} (no such export)`
}

function mayImport(ring: Ring, importer: string, specifier: string): boolean {
  const own = ownFile(importer, specifier)
  if (own === undefined) {
    return ring.packages.some((name) =>
      name.endsWith('*') || name.endsWith(':')
        ? specifier.startsWith(name.replace('*', ''))
        : specifier === name,
    )
  }
  const home = `${importer.split('/').slice(0, 2).join('/')}/`
  return ring.inside.some((prefix) => own.startsWith(prefix === './' ? home : prefix))
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g

function* importsOf(path: string): Generator<string> {
  for (const match of readFileSync(join(root, path), 'utf8').matchAll(importPattern)) {
    yield (match[1] ?? match[2] ?? match[3]) as string
  }
}

function sources(): string[] {
  return (
    folders
      .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
      .filter((path) => !path.includes('/generated/') && !path.endsWith('.d.ts'))
      // Doubles stand beside the tests that use them, and are not shipped; those of contract-tests are published.
      .filter((path) => !path.includes('/testing/') || path.startsWith('contract-tests/testing/'))
  )
}

const ringOf = (path: string): Ring | undefined => rings.find((ring) => ring.has(path))

describe('the rings', () => {
  const files = sources()

  it('cover every source file', () => {
    expect(files.filter((path) => ringOf(path) === undefined)).toEqual([])
    expect(files.length).toBeGreaterThan(30)
  })

  it('have no wrong arrow', () => {
    const wrong = files.flatMap((path) => {
      const ring = ringOf(path) as Ring
      return [...importsOf(path)]
        .filter((specifier) => !mayImport(ring, path, specifier))
        .map((specifier) => `${path} (${ring.name}) imports ${specifier}`)
    })
    expect(wrong).toEqual([])
  })

  it.each([
    ['src/domain/errors.ts', 'node:fs'],
    ['src/domain/errors.ts', '../ports/index.ts'],
    ['src/application/seams.ts', '../../adapters/node/index.ts'],
    ['src/application/seams.ts', 'tsyringe'],
    ['src/ports/clock.ts', '../application/seams.ts'],
    ['adapters/disk/index.ts', '../../src/domain/errors.ts'],
    ['adapters/disk/index.ts', '../memory/index.ts'],
    ['adapters/disk/index.ts', 'ratatoskr'],
    ['adapters/disk/index.ts', 'ratatoskr/adapters/frames'],
    ['adapters/tcp/index.ts', '../frames/calls.ts'],
    ['adapters/tcp/index.ts', 'ratatoskr/adapters/websocket'],
    ['adapters/frames/index.ts', 'ratatoskr/adapters/tcp'],
    ['plugins/audit/index.ts', 'ratatoskr/adapters/disk'],
    ['src/client/client.ts', 'node:fs'],
    ['src/index.ts', 'ratatoskr/adapters/grpc'],
  ])('refuse %s importing %s', (importer, specifier) => {
    expect(mayImport(ringOf(importer) as Ring, importer, specifier)).toBe(false)
  })
})

// The `slice` of a Buffer of Node gives a view, and bytes from outside are Buffers often: `new Uint8Array(bytes)` copies.
it('copies of bytes are copies whatever bytes they are of', () => {
  const copied = /\b(bytes|batch|payload|key|value|chunk|id)\??\.slice\(\)/
  const code = sources().filter((path) => !path.startsWith('contract-tests/'))
  expect(code.filter((path) => copied.test(readFileSync(join(root, path), 'utf8')))).toEqual([])
})

describe('the way of a batch', () => {
  const onTheWay = /^(proto|src\/client|adapters\/(disk|memory|frames|tcp|websocket|grpc|http))\//
  const joins = /\bBuffer\s*\.\s*concat\b|\bnew Blob\(/
  /** What is joined there is small, or is not on the way of what comes again and again. */
  const allowed: Readonly<Record<string, string>> = {
    'proto/message-frames.ts':
      'a body that is copied sooner than written apart; a message for a library that wants it whole',
    'adapters/grpc/http2/':
      'headers: of answers, and those that came in several frames; bodies are written as they are',
    'adapters/http/routes/queues.ts': 'the answer to one call, which must stay as it is until it is written',
  }
  const joining = sources().filter(
    (path) => onTheWay.test(path) && joins.test(readFileSync(join(root, path), 'utf8')),
  )

  // A copy of each byte, and an allocation as large as the batch: pieces are written one after the other instead.
  it('joins no buffers', () => {
    const places = Object.keys(allowed)
    expect(joining.filter((path) => !places.some((place) => path.startsWith(place)))).toEqual([])
    const forNothing = places.filter(
      (place) => existsSync(join(root, place)) && !joining.some((path) => path.startsWith(place)),
    )
    expect(forNothing).toEqual([])
  })

  it.each(['Buffer.concat(parts)', 'Buffer\n    .concat(parts)', 'new Blob(parts)'])('sees %j', (code) =>
    expect(joins.test(code)).toBe(true),
  )
})

describe('the inner rings', () => {
  const inner = sources().filter((path) => /^src\/(domain|ports|application)\//.test(path))
  const withoutComments = (path: string) =>
    readFileSync(join(root, path), 'utf8')
      .replace(/\/\*[\s\S]*?\*\//g, '')
      .replace(/\/\/.*$/gm, '')

  // A seeded simulation runs the real broker on a clock and a randomness of its own.
  it.each([
    ['time', /\bDate\.now\b|\bnew Date\(\)|\bperformance\.|\bset(Timeout|Interval|Immediate)\b/],
    ['randomness', /\bMath\.random\b|\bcrypto\./],
    ['output', /\bconsole\./],
  ])('take %s only through ports', (_, pattern) => {
    expect(inner.filter((path) => pattern.test(withoutComments(path)))).toEqual([])
  })

  it('make no copy of the bytes they pass on', () => {
    expect(inner.filter((path) => /\bBuffer\b/.test(withoutComments(path)))).toEqual([])
  })
})
