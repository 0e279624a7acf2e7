import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

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
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url)) },
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
