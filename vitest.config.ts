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
    testTimeout: 20_000,
    hookTimeout: 20_000,
    coverage: {
      include: ['{src,adapters,plugins,contract-tests}/**/*.ts'],
      exclude: [
        '**/*.test.ts',
        '**/testing/**',
        '**/generated/**',
        'contract-tests/batteries/**',
        '**/foreign-clients/**',
        'proto/**',
      ],
      reporter: ['text-summary', 'json-summary'],
      reportOnFailure: true,
      thresholds: {
        'src/{domain,application}/**': { lines: 95 },
        'src/{ports,composition,client,cli}/**': { lines: 85 },
        '{adapters,plugins,contract-tests}/**': { lines: 85 },
      },
    },
  },
})
