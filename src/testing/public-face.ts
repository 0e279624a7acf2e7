/** What an entry of the package exports, found by its text: declarations, and where they are documented. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Declaration {
  readonly name: string
  readonly file: string
  readonly documented: boolean
}

const declaration =
  /^export (?:declare |abstract |async )*(?:function\*?|class|interface|type|const) (?<name>\w+)/gm
const reExport = /^export (?:type )?(?:\*|\{(?<names>[^}]*)\}) from '(?<from>\.[^']+)'/gm

/** The declarations behind the exports of a file, its own and those that it passes on from files of ours. */
export function declarationsOf(file: string, wanted?: ReadonlySet<string>): Declaration[] {
  const text = readFileSync(file, 'utf8')
  const own = [...text.matchAll(declaration)]
    .map(({ groups, index }) => ({ name: groups?.name as string, file, documented: hasComment(text, index) }))
    .filter(({ name }, i, all) => all.findIndex((other) => other.name === name) === i)
  const passedOn = [...text.matchAll(reExport)].flatMap(({ groups }) => {
    const from = join(dirname(file), groups?.from as string)
    const names = groups?.names
    return declarationsOf(from, names === undefined ? undefined : namesIn(names))
  })
  const all = [...own, ...passedOn]
  return wanted === undefined ? all : all.filter(({ name }) => wanted.has(name))
}

/** `{ a, type B, c as d }` passes on a, B and c of the other file. */
const namesIn = (list: string): ReadonlySet<string> =>
  new Set(
    list.split(',').map(
      (each) =>
        each
          .trim()
          .replace(/^type /, '')
          .split(' ')[0],
    ),
  )

/** True when a doc comment ends on the line before; the file's own header, with a blank line behind it, is none. */
const hasComment = (text: string, index: number): boolean => text.slice(0, index).endsWith('*/\n')
