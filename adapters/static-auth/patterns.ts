/**
 * Patterns of topics and groups: levels divided by dots, `*` for anything within one level, `**` for any number of
 * levels, also none. Names that begin with `_` are the broker's own: only patterns that begin so reach them.
 */
import { RatatoskrError } from 'ratatoskr/ports'

/** True when a pattern covers a name. */
export type Matcher = (name: string) => boolean

/**
 * Compiles a pattern.
 * @throws RTK_CONFIG_INVALID when it has characters that no name has, an empty level, or `**` within a level
 */
export function compilePattern(pattern: string): Matcher {
  if (typeof pattern !== 'string' || !/^[A-Za-z0-9._*-]{1,249}$/.test(pattern)) {
    throw patternError(pattern, 'has other characters than A-Z a-z 0-9 . _ - *')
  }
  const levels = pattern.split('.')
  if (levels.includes('')) throw patternError(pattern, 'has an empty level')
  if (levels.some((level) => level !== '**' && level.includes('**'))) {
    throw patternError(pattern, 'has ** beside other characters of a level')
  }
  if (pattern === '**') return (name) => !name.startsWith('_')
  const reserved = pattern.startsWith('_')
  const compiled = levels.map((level) => (level === '**' ? anyLevels : [...level]))
  return (name) => {
    if (name.startsWith('_') && !reserved) return false
    return globMatches(compiled, name.split('.'), anyLevels, (level, text) =>
      globMatches(level, [...text], '*', isSame),
    )
  }
}

const anyLevels: readonly string[] = ['**']
const isSame = (one: string, other: string): boolean => one === other

/**
 * True when `pattern` covers all of `text`, its stars standing for any number of elements. Only the last star is ever
 * tried again, so that no pattern takes more than the product of the lengths.
 */
function globMatches<Part, Element>(
  pattern: readonly Part[],
  text: readonly Element[],
  star: Part,
  matches: (part: Part, element: Element) => boolean,
): boolean {
  let at = 0
  let starAt = -1
  let resumeAt = 0
  for (let i = 0; i < text.length; ) {
    if (at < pattern.length && pattern[at] === star) {
      starAt = at++
      resumeAt = i
    } else if (at < pattern.length && matches(pattern[at], text[i])) {
      at++
      i++
    } else if (starAt !== -1) {
      at = starAt + 1
      i = ++resumeAt
    } else return false
  }
  while (at < pattern.length && pattern[at] === star) at++
  return at === pattern.length
}

const patternError = (pattern: unknown, problem: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `pattern ${JSON.stringify(pattern)} ${problem}; levels are divided by dots`,
  )
