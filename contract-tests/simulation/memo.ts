/** Remembers what a pure function made of a text: a disk sees the same few paths again and again. */
const entriesMax = 10_000

/** @param make pure, and never gives undefined */
export function memoized<T>(make: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const before = known.get(text)
    if (before !== undefined) return before
    if (known.size >= entriesMax) known.clear()
    const made = make(text)
    known.set(text, made)
    return made
  }
}
