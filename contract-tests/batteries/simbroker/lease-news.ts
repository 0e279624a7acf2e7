/**
 * What the network carried of leases: when each was sent, and when the word that it is over was said and heard. So a judge
 * can tell who could not know yet that his lease was gone.
 */

interface LinkNews {
  /** Places among all events; none when it did not happen. */
  lostAt: number
  lostMs: number
  overAt: number
}

interface Sent {
  readonly link: LinkNews
  readonly stream: string
  readonly atMs: number
}

/** A lease, as the broker numbers them. */
export interface LeaseOf {
  /** The life of the client that holds it. */
  readonly life: string
  readonly group: string
  readonly partition: number
  readonly offset: number
  readonly lease: number
}

interface Word {
  readonly link: LinkNews
  readonly stream: string
  readonly saidAt: number
  readonly saidMs: number
  heardAt: number
  /** True when it speaks of the lease. */
  readonly ends: (lease: LeaseOf) => boolean
}

const never = Number.POSITIVE_INFINITY

export class LeaseNews {
  readonly #links = new Map<string, LinkNews>()
  readonly #sent = new Map<string, Sent>()
  readonly #words: Word[] = []

  /** Takes an event of the network. @param at its place among all events */
  note(life: string, text: string, at: number, atMs: number): void {
    if (text === 'connected') this.#links.set(life, { lostAt: never, lostMs: never, overAt: never })
    const link = this.#links.get(life)
    if (link === undefined) return
    if (text === 'link lost') Object.assign(link, { lostAt: at, lostMs: atMs })
    if (text.startsWith('link over')) link.overAt = at
    const [, stream, group, what, rest] = /^(\S+ \d+) of (\S+) (is sent|is told|hears) (.+)$/.exec(text) ?? []
    if (what === 'is sent') {
      const [range] = rangesOf(rest)
      const key = keyOf({ life, group, ...range })
      if (!this.#sent.has(key)) this.#sent.set(key, { link, stream, atMs })
    } else if (what === 'is told') {
      const ranges = rangesOf(rest)
      const ends = (one: LeaseOf): boolean =>
        rest === 'the end' ||
        ranges.some(
          ({ partition, lease, from, to }) =>
            partition === one.partition && lease === one.lease && from <= one.offset && one.offset < to,
        )
      this.#words.push({ link, stream, saidAt: at, saidMs: atMs, heardAt: never, ends })
    } else if (what === 'hears') {
      const next = this.#words.find(
        (word) => word.link === link && word.stream === stream && word.heardAt === never,
      )
      if (next !== undefined) next.heardAt = at
    }
  }

  /** When the lease was sent; undefined when that is not known. */
  sentMs(lease: LeaseOf): number | undefined {
    return this.#sent.get(keyOf(lease))?.atMs
  }

  /**
   * Since when the lease may have been over at some moment without its holder being able to know: the word of it was under way, or
   * nobody had noticed that the link is lost. Undefined when he was to know. @param at place of the moment among all events
   */
  unknownSinceMs(lease: LeaseOf, at: number): number | undefined {
    const sent = this.#sent.get(keyOf(lease))
    if (sent === undefined) return undefined
    const { link, stream } = sent
    if (link.lostAt < at && at < link.overAt) return link.lostMs
    const isOf = (word: Word): boolean =>
      word.link === link && word.stream === stream && word.saidAt < at && word.ends(lease)
    const word = this.#words.find(isOf)
    return word !== undefined && at < word.heardAt ? word.saidMs : undefined
  }
}

const keyOf = ({ life, group, partition, lease }: Omit<LeaseOf, 'offset'>): string =>
  `${life} ${group} ${partition} ${lease}`

const rangesOf = (text: string) =>
  [...text.matchAll(/(\d+):(\d+)-(\d+) l(\d+)/g)].map(([, ...numbers]) => {
    const [partition, from, to, lease] = numbers.map(Number)
    return { partition, from, to, lease }
  })
