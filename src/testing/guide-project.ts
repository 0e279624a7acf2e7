/**
 * A project of somebody who uses Ratatoskr, in a temporary directory: guides are run in it. Packages are links, so that
 * `ratatoskr` is the sources of this repository, and `npx ratatoskr` is its command.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'

const conditions = '--conditions=source'
/** Far more than anything here takes, for machines that are slow or busy. */
const runMsMax = 50_000

/** What a program printed, and how it ended. */
export interface Outcome {
  readonly stdout: string
  readonly stderr: string
  /** Undefined when it was stopped because it had printed enough. */
  readonly exitCode: number | null | undefined
}

type Enough = (stdout: string, stderr: string) => boolean

/** A program under way. */
class Program {
  #stdout = ''
  #stderr = ''
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  readonly #ended: Promise<number | null>
  #looked: () => void = () => {}

  constructor(command: readonly string[], cwd: string, environment: Readonly<Record<string, string>>) {
    const [file, ...args] = command
    this.#child = spawn(file, args, { cwd, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
      this.#looked()
    })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
      this.#looked()
    })
    this.#ended = new Promise((resolve, reject) => this.#child.on('error', reject).on('close', resolve))
    this.#ended.catch(() => undefined)
  }

  /** Resolves when the program has ended, or has printed enough: then it goes on. Ends it when it takes too long. */
  async outcome(enough: Enough = () => false): Promise<Outcome> {
    const printed = new Promise<undefined>((resolve) => {
      this.#looked = () => {
        if (enough(this.#stdout, this.#stderr)) resolve(undefined)
      }
      this.#looked()
    })
    const late = setTimeout(() => this.#child.kill('SIGKILL'), runMsMax)
    try {
      const exitCode = await Promise.race([printed, this.#ended])
      return { stdout: this.#stdout, stderr: this.#stderr, exitCode }
    } finally {
      clearTimeout(late)
    }
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.outcome()
  }
}

/** Addresses that stand in guides, and where the broker listens in their place. */
export type Addresses = Readonly<
  Record<'127.0.0.1:50051' | '127.0.0.1:8080' | '127.0.0.1:8081' | '127.0.0.1:7282', string>
>

export class GuideProject {
  readonly directory: string
  readonly #root: string
  readonly #programs: Program[] = []

  private constructor(directory: string, root: string) {
    this.directory = directory
    this.#root = root
  }

  /** @param root the repository */
  static async make(root: string): Promise<GuideProject> {
    const project = new GuideProject(await mkdtemp(join(tmpdir(), 'ratatoskr-guides-')), root)
    const packages = join(project.directory, 'node_modules')
    await mkdir(packages)
    await symlink(root, join(packages, 'ratatoskr'))
    for (const name of ['vitest', '@types']) {
      await symlink(join(root, 'node_modules', name), join(packages, name))
    }
    await project.write('package.json', '{ "type": "module", "private": true }\n')
    await project.write(
      'tsconfig.json',
      JSON.stringify({ extends: join(root, 'tsconfig.json'), include: ['.'] }),
    )
    await project.write('vitest.config.js', vitestConfig(root))
    return project
  }

  /** Writes a file of the project. @returns its path */
  async write(name: string, text: string): Promise<string> {
    const path = join(this.directory, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
    return path
  }

  script(path: string, enough?: Enough): Promise<Outcome> {
    return this.#run([process.execPath, conditions, path], dirname(path), {}, enough)
  }

  /** @param brokerUrl the broker that commands talk to */
  shell(text: string, folder: string, brokerUrl: string, enough?: Enough): Promise<Outcome> {
    const cwd = join(this.directory, folder)
    // A function, for a file in a temporary directory may not be allowed to be a program.
    const npx = `npx() { shift; ${this.#command.map((part) => `'${part}'`).join(' ')} "$@"; }\n`
    const command = ['bash', '-euo', 'pipefail', '-c', `${npx}${text}`]
    return this.#run(command, cwd, { RATATOSKR_URL: brokerUrl }, enough)
  }

  command(args: readonly string[]): Promise<Outcome> {
    return this.#run([...this.#command, ...args], this.directory)
  }

  /** Runs a file of a package of the repository, such as `typescript/bin/tsc`. */
  tool(file: string, args: readonly string[]): Promise<Outcome> {
    return this.#run([process.execPath, join(this.#root, 'node_modules', file), ...args], this.directory)
  }

  /** Starts `ratatoskr serve`, with data in `folder`, on free ports. */
  async serve(folder: string): Promise<Addresses> {
    const ports = ['grpc', 'http', 'websocket', 'tcp'].flatMap((name) => [`--${name}-port`, '0'])
    const directory = join(this.directory, folder, 'data')
    const command = [...this.#command, 'serve', '--directory', directory, ...ports]
    const broker = new Program(command, this.directory, this.#environment({}))
    this.#programs.push(broker)
    const { stderr } = await broker.outcome((_stdout, log) => log.includes('"ready"'))
    const address = (scheme: string): string => {
      const found = new RegExp(`"${scheme}://([^"]+)"`).exec(stderr)?.[1]
      if (found === undefined) throw new Error(`the broker did not start: ${stderr}`)
      return found
    }
    return {
      '127.0.0.1:50051': address('grpc'),
      '127.0.0.1:8080': address('http'),
      '127.0.0.1:8081': address('ws'),
      '127.0.0.1:7282': address('tcp'),
    }
  }

  /** Stops what is still running. */
  async stop(): Promise<void> {
    await Promise.all(this.#programs.splice(0).map((program) => program.stop()))
  }

  async remove(): Promise<void> {
    await this.stop()
    await rm(this.directory, { recursive: true, force: true })
  }

  get #command(): readonly string[] {
    return [process.execPath, conditions, join(this.#root, 'src/cli/main.ts')]
  }

  async #run(
    command: readonly string[],
    cwd: string,
    environment: Readonly<Record<string, string>> = {},
    enough?: Enough,
  ): Promise<Outcome> {
    const program = new Program(command, cwd, this.#environment(environment))
    const outcome = await program.outcome(enough)
    if (outcome.exitCode === undefined) await program.stop()
    return outcome
  }

  /** That of this process, without what would make programs behave otherwise than a reader's. */
  #environment(more: Readonly<Record<string, string>>): Record<string, string> {
    const foreign = /_proxy$|^ratatoskr_|^vitest|^node_options$|^node_v8_coverage$|color/i
    const inherited = Object.entries(process.env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !foreign.test(entry[0]),
    )
    return { ...Object.fromEntries(inherited), ...more, NO_COLOR: '1' }
  }
}

/** Ratatoskr is loaded by Node, as a package is; the link to the repository would have its sources transformed one by one. */
const vitestConfig = (root: string): string => `export default {
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    execArgv: ['${conditions}'],
    server: { deps: { external: [new RegExp('^' + RegExp.escape(${JSON.stringify(`${root}/`)}))] } },
  },
}
`
