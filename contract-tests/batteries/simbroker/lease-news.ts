/**
 * What the network carried of leases: when each was sent, and when the word that it is over was said and heard. So a judge
 * can tell who could not know yet that his lease was gone.
 */
import { Credit } from './credit.ts'

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
  /** What is left of the lease, as an answer to who polls tells it; undefined for all others. */
  readonly leftMs: number | undefined
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

interface Sending {
  readonly life: string
  readonly lease: number
  readonly atMs: number
}

export class LeaseNews {
  /** What was seen to be wrong while it happened. */
  readonly wrong: string[] = []
  /** What each member may be sent, by link and stream. */
  readonly #credits = new Map<LinkNews, Map<string, Credit>>()
  /** All that was sent of each message, by group and place. */
  readonly #sendings = new Map<string, Sending[]>()
  /** Leases whose holders have said that they begin, by message. */
  readonly #begun = new Set<string>()
  readonly #links = new Map<string, LinkNews>()
  /** Which link each subscription came by. */
  readonly #streams = new Map<string, LinkNews>()
  readonly #sent = new Map<string, Sent>()
  readonly #words: Word[] = []

  /** Takes an event of the network. @param at its place among all events */
  note(life: string, text: string, at: number, atMs: number): void {
    if (text === 'connected') this.#links.set(life, { lostAt: never, lostMs: never, overAt: never })
    const current = this.#links.get(life)
    if (current === undefined) return
    if (text === 'link lost') Object.assign(current, { lostAt: at, lostMs: atMs })
    if (text.startsWith('link over')) current.overAt = at
    const [, stream, group, what, rest] =
      /^(\S+(?: \d+)?) of (\S+) (is sent|is told|is granted|hears|begins) (.+)$/.exec(text) ?? []
    // What the broker says on an older link comes from there.
    const link = this.#linkOf(life, stream, current)
    if (what === 'is granted') this.#creditOf(link, stream).grant(rest)
    else if (what === 'is sent') {
      const [range] = rangesOf(rest)
      const key = keyOf({ life, group, ...range })
      const [, left] = / for (\d+) ms$/.exec(rest) ?? []
      const leftMs = left === undefined ? undefined : Number(left)
      if (!this.#sent.has(key)) this.#sent.set(key, { link, stream, atMs, leftMs })
      this.#handOver(life, group, range, atMs)
      const problem = stream === 'taking' ? undefined : this.#creditOf(link, stream).spend(rest)
      if (problem !== undefined) this.wrong.push(`${life} ${stream} of ${group} is sent ${rest}: ${problem}`)
    } else if (what === 'is told') {
      const ranges = rangesOf(rest)
      const ends = (one: LeaseOf): boolean =>
        rest === 'the end' ||
        ranges.some(
          ({ partition, lease, from, to }) =>
            partition === one.partition && lease === one.lease && from <= one.offset && one.offset < to,
        )
      this.#words.push({ link, stream, saidAt: at, saidMs: atMs, heardAt: never, ends })
    } else if (what === 'begins') {
      for (const range of rangesOf(rest)) this.#begun.add(`${keyOf({ life, group, ...range })} ${range.from}`)
    } else if (what === 'hears') {
      const next = this.#words.find(
        (word) => word.link === link && word.stream === stream && word.heardAt === never,
      )
      if (next !== undefined) next.heardAt = at
    }
  }

  /** When each message was sent to a member of a group, and with which lease: 0 is for at most once. */
  sendings(group: string, { partition, offset }: Pick<LeaseOf, 'partition' | 'offset'>): readonly Sending[] {
    return this.#sendings.get(`${group} ${partition}:${offset}`) ?? []
  }

  /** True when its holder has said that it begins with the message. */
  hasBegun(lease: LeaseOf): boolean {
    return this.#begun.has(`${keyOf(lease)} ${lease.offset}`)
  }

  /** When the lease was sent; undefined when that is not known. */
  sentMs(lease: LeaseOf): number | undefined {
    return this.#sent.get(keyOf(lease))?.atMs
  }

  /** Until when who polls has the lease, as he was told; undefined when that is not known. */
  toldUntilMs(lease: LeaseOf): number | undefined {
    const { atMs = 0, leftMs } = this.#sent.get(keyOf(lease)) ?? {}
    return leftMs === undefined ? undefined : atMs + leftMs
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

  #linkOf(life: string, stream: string, current: LinkNews): LinkNews {
    if (stream === 'taking') return current
    const key = `${life} ${stream}`
    const link = this.#streams.get(key) ?? current
    this.#streams.set(key, link)
    return link
  }

  #creditOf(link: LinkNews, stream: string): Credit {
    const ofLink = this.#credits.get(link) ?? new Map<string, Credit>()
    const credit = ofLink.get(stream) ?? new Credit()
    this.#credits.set(link, ofLink.set(stream, credit))
    return credit
  }

  #handOver(
    life: string,
    group: string,
    { partition, from, to, lease }: ReturnType<typeof rangesOf>[0],
    atMs: number,
  ): void {
    for (let offset = from; offset < to; offset++) {
      const key = `${group} ${partition}:${offset}`
      const sendings = this.#sendings.get(key)
      if (sendings === undefined) this.#sendings.set(key, [{ life, lease, atMs }])
      else sendings.push({ life, lease, atMs })
    }
  }
}

const keyOf = ({ life, group, partition, lease }: Omit<LeaseOf, 'offset'>): string =>
  `${life} ${group} ${partition} ${lease}`

const rangesOf = (text: string) =>
  [...text.matchAll(/(\d+):(\d+)-(\d+) l(\d+)/g)].map(([, ...numbers]) => {
    const [partition, from, to, lease] = numbers.map(Number)
    return { partition, from, to, lease }
  })
