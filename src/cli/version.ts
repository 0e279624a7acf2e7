/** The version of the package. */
import { readFileSync } from 'node:fs'

// The package file stands two levels above src/cli and dist/cli, and three above dist/src/cli.
const packageFile = ['../../package.json', '../../../package.json']
  .map((path) => new URL(path, import.meta.url))
  .map((url) => {
    try {
      return JSON.parse(readFileSync(url, 'utf8')) as { name: string; version: string }
    } catch {
      return undefined
    }
  })
  .find((found) => found?.name === 'ratatoskr')

export const version = packageFile?.version ?? 'unknown'
