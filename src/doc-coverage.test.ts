/** Every entry of the package is documented: at least nine of ten of what it exports have a doc comment. */
import { globSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type Declaration, declarationsOf } from './testing/public-face.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const entries = [
  'src/index.ts',
  'src/ports/index.ts',
  'src/client/index.ts',
  'src/client/browser.ts',
  'contract-tests/index.ts',
  'contract-tests/testing/index.ts',
  ...globSync('{adapters,plugins}/*/index.ts', { cwd: root }).sort(),
]
const shareMin = 0.9

const shareOf = (declarations: readonly Declaration[]): number =>
  declarations.filter(({ documented }) => documented).length / declarations.length

describe('documentation of what is exported', () => {
  it.each(entries)('%s', (entry) => {
    const declarations = declarationsOf(join(root, entry))
    const without = declarations
      .filter(({ documented }) => !documented)
      .map(({ name, file }) => `${relative(root, file)}: ${name}`)
    expect(declarations.length).toBeGreaterThan(0)
    expect(shareOf(declarations), without.join('\n')).toBeGreaterThanOrEqual(shareMin)
  })

  it('is looked for in every file of the ports, and behind lists of names', () => {
    const files = new Set(
      declarationsOf(join(root, 'src/ports/index.ts')).map(({ file }) => relative(root, file)),
    )
    const ports = globSync('src/ports/*.ts', { cwd: root }).filter((file) => !file.endsWith('index.ts'))
    expect(ports.filter((file) => !files.has(file))).toEqual([])
    const names = declarationsOf(join(root, 'src/index.ts')).map(({ name }) => name)
    expect(names).toEqual(
      expect.arrayContaining(['createBroker', 'RatatoskrError', 'TopicConfig', 'Message']),
    )
  })
})
