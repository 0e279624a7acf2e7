/**
 * Puts the modules of the command together: some 800 files, those of packages among them, become a few, since finding and
 * reading so many is most of the time in which `ratatoskr serve` starts. The library stays as tsc has made it.
 *
 * It works on what tsc made. Names and lines stay, so that stack traces can be read; comments go, for V8 keeps the text of
 * every module in memory.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig, type Plugin } from 'rolldown'

const dist = join(import.meta.dirname, 'dist')

/**
 * What the command has in common with plugins of a configuration file. They import `ratatoskr/ports`, whose modules are other
 * files than those of the command: an error of theirs must be an instance of the very same class.
 */
const common = {
  file: join(dist, 'src/domain/errors.js'),
  id: 'common/errors',
  path: '../src/domain/errors.js',
}

/** Packages that stay packages. */
const packages = [
  // Its copies find each other by what the application lays down for all of them.
  '@opentelemetry/api',
  // They read files that lie beside them, at the first request that needs them.
  '@grpc/reflection',
  'grpc-health-check',
  // Loaded for what few need: a document, a configuration in YAML.
  '@fastify/swagger',
  'yaml',
  // What fastify would load for uses that are not made of it here.
  '@fastify/ajv-compiler',
  '@fastify/fast-json-stringify-compiler',
  'light-my-request',
  'pino',
]

const keepCommon: Plugin = {
  name: 'what plugins share stays a file of its own',
  resolveId: {
    filter: { id: /errors\.js$/ },
    async handler(source, importer) {
      const found = await this.resolve(source, importer, { skipSelf: true })
      return found?.id === common.file ? { id: common.id, external: true } : found
    },
  },
}

/** Characters beyond Latin-1 as escapes: a single one has V8 keep the text of the whole file in twice the memory. */
const oneByteTexts: Plugin = {
  name: 'texts of one byte a character',
  // At the very end, since whatever prints code anew writes the characters themselves.
  generateBundle(_options, bundle) {
    for (const file of Object.values(bundle)) if (file.type === 'chunk') file.code = escaped(file.code)
  },
}

function escaped(code: string): string {
  return code.replace(/(\\*)([^\0-\xff]+)/g, (_found, slashes: string, wide: string) => {
    if (slashes.length % 2 === 1) throw new Error(`an escape before ${wide} would change what it means`)
    const units = Array.from({ length: wide.length }, (_unit, place) => wide.charCodeAt(place))
    return slashes + units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')
  })
}

/** The licences of the packages whose code is in the files of the command, for they have to go with it. */
const licences: Plugin = {
  name: 'licences of what is inside',
  generateBundle(_options, bundle) {
    const folders = new Set<string>()
    for (const file of Object.values(bundle)) {
      if (file.type !== 'chunk') continue
      for (const id of file.moduleIds) {
        const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id.replaceAll('\\', '/'))?.[0]
        if (folder !== undefined) folders.add(folder)
      }
    }
    const source = [...folders]
      .map(licenceOf)
      .sort()
      .join(`\n${'-'.repeat(80)}\n\n`)
    this.emitFile({ type: 'asset', fileName: 'LICENSES.txt', source })
  },
}

function licenceOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const texts = readdirSync(folder).filter((file) => /^(licen[cs]e|notice)/i.test(file))
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8')
  return [`${name} ${version} (${license})\n`, ...texts.map(read)].join('\n')
}

export default defineConfig({
  input: {
    main: join(dist, 'src/cli/main.js'),
    'worker-main': join(dist, 'src/cli/workers/worker-main.js'),
  },
  platform: 'node',
  external: (id) => packages.some((name) => id === name || id.startsWith(`${name}/`)),
  plugins: [keepCommon, oneByteTexts, licences],
  output: {
    dir: join(dist, 'cli'),
    cleanDir: true,
    format: 'esm',
    // Beside each other: a module that looks for a file from where it lies finds it, whatever file it was put into.
    chunkFileNames: '[name]-[hash].js',
    comments: false,
    paths: { [common.id]: common.path },
  },
})
