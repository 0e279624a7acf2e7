/**
 * Reads a guide as a test sees it: sections, the code in them, and what the code is said to print.
 *
 * A `text` block right behind a code block is its output; `…` stands for anything within a line. An HTML comment before a
 * code block, which no reader sees, says how it is run:
 *
 *     <!-- with a client -->                  a connected `client` is there
 *     <!-- goes on until it is stopped -->    stopped once it has printed what the guide shows
 *     <!-- file: name.ts -->                  a module that later blocks of the section import; `name.test.ts` is run by vitest
 *     <!-- same as: path -->                  the block is this file of the repository
 */

/** One fenced block of code. */
export interface CodeBlock {
  readonly language: string
  readonly code: string
  /** Line of the guide on which the code begins. */
  readonly line: number
  /** The comment before it, without its brackets; empty without one. */
  readonly directive: string
  /** What it prints; undefined when the guide does not show it. */
  readonly output: string | undefined
}

export interface Section {
  readonly title: string
  readonly blocks: readonly CodeBlock[]
}

interface OpenSection {
  readonly title: string
  readonly blocks: { -readonly [Name in keyof CodeBlock]: CodeBlock[Name] }[]
}

/** The sections of a guide that hold code. */
export function sectionsOf(markdown: string): readonly Section[] {
  const lines = markdown.split('\n')
  const sections: OpenSection[] = []
  let directive = ''
  let follows = false
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]
    const fence = /^```(\w+)$/.exec(line)
    if (fence !== null) {
      const end = lines.indexOf('```', i)
      const code = `${lines.slice(i + 1, end).join('\n')}\n`
      const blocks = sections[sections.length - 1].blocks
      const isOutput = fence[1] === 'text'
      if (!isOutput) blocks.push({ language: fence[1], code, line: i + 2, directive, output: undefined })
      else if (follows) blocks[blocks.length - 1].output = code
      follows = !isOutput
      directive = ''
      i = end
    } else if (/^#{1,3} /.test(line)) sections.push({ title: line.replace(/^#+ /, ''), blocks: [] })
    else if (line.startsWith('<!-- ')) directive = line.slice(5, -4)
    else if (line !== '') follows = false
  }
  return sections.filter(({ blocks }) => blocks.length > 0)
}

/** The rows of the table whose header begins with `firstColumn`, cells without their backticks. */
export function tableOf(markdown: string, firstColumn: string): readonly (readonly string[])[] {
  const lines = markdown.split('\n')
  const start = lines.findIndex((line) => line.startsWith(`| ${firstColumn} |`))
  if (start === -1) return []
  const rows = lines.slice(start + 2)
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith('|')),
    )
    .map((row) =>
      row
        .slice(2, -2)
        .split(' | ')
        .map((cell) => cell.replaceAll('`', '')),
    )
}

/** True when `printed` is what the guide shows, with `…` for what differs each time. */
export function printsAsShown(printed: string, shown: string): boolean {
  const pattern = shown.trim().split('…').map(RegExp.escape).join('.*')
  return new RegExp(`^${pattern}$`).test(printed.trim())
}
