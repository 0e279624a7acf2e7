import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const inMemory = '/dev/shm'
const memoryBytesMin = 4 * 1024 ** 3
const prefix = 'ratatoskr-tests-'

/**
 * Where tests make their directories: in memory where Linux has enough of it, for much of what the disk's tests take is the
 * file system's work with small files. What only a disk can show, the batteries show on disks; TMPDIR names another place, and
 * CI has all on a disk.
 */
function temporaryDirectory(): string | undefined {
  const { TMPDIR, RATATOSKR_TEST_ROUNDS } = process.env
  if (TMPDIR !== undefined || RATATOSKR_TEST_ROUNDS === 'all') return TMPDIR
  try {
    const { bavail, bsize } = statfsSync(inMemory)
    if (bavail * bsize < memoryBytesMin) return undefined
    const directory = join(inMemory, `${prefix}${process.pid}`)
    mkdirSync(directory, { mode: 0o700 })
    removeStale()
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
    return directory
  } catch {
    return undefined
  }
}

/** A run that was killed left its directory there. */
function removeStale(): void {
  for (const name of readdirSync(inMemory)) {
    if (!name.startsWith(prefix) || existsSync(`/proc/${name.slice(prefix.length)}`)) continue
    rmSync(join(inMemory, name), { recursive: true, force: true })
  }
}

const TMPDIR = temporaryDirectory()

// Tests run from the sources: the `source` condition of package.json's exports names the .ts files,
// so that adapters import `ratatoskr/ports` exactly as a third party does.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['{src,adapters,plugins,proto,contract-tests,examples,bench}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'dist/**'],
    execArgv: ['--conditions=source'],
    setupFiles: ['./vitest.setup.ts'],
    // Files share the modules of their worker: loading them afresh for each file takes a quarter of the whole time. What a
    // file changes beyond its own variables (a spy, the environment, a directory) it puts back.
    isolate: false,
    restoreMocks: true,
    // One for each processor: many tests wait, for a disk or a process, and the runner itself does little.
    maxWorkers: availableParallelism(),
    // For the processes that tests start: with it, each spares most of the time that it takes to load its modules.
    env: {
      NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url)),
      ...(TMPDIR !== undefined && { TMPDIR }),
    },
    // Generous: they end what hangs, and a machine with other work on it is no failure.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 15_000 } },
    coverage: {
      include: ['{src,adapters,plugins,contract-tests}/**/*.ts'],
      exclude: [
        '**/*.test.ts',
        '**/testing/**',
        '**/generated/**',
        'contract-tests/batteries/**',
        '**/foreign-clients/**',
        'proto/**',
        // Runs as a process alone: it takes over stdout's errors and the exit. src/cli/main.test.ts spawns it.
        'src/cli/main.ts',
      ],
      reporter: ['text-summary', 'json-summary'],
      reportOnFailure: true,
      thresholds: {
        'src/{domain,application}/**': { lines: 95 },
        // One each: a folder that is tested well makes up for no other.
        'src/ports/**': { lines: 85 },
        'src/composition/**': { lines: 85 },
        'src/client/**': { lines: 85 },
        'src/cli/**': { lines: 85 },
        'adapters/**': { lines: 85 },
        'plugins/**': { lines: 85 },
        'contract-tests/**': { lines: 85 },
      },
    },
  },
})
