/** What a check of a data directory tells. */

/** One thing that was found, as a row. */
export interface Finding {
  /** `error`: something is lost, or the broker would refuse it. Everything else costs nothing. */
  readonly severity: 'ok' | 'info' | 'warning' | 'error'
  /** Path below the data directory. */
  readonly file: string
  readonly state: string
  readonly sizeBytes?: number
  readonly batches?: number
  readonly records?: number
  /** Offsets that it is about: `offset` up to, not including, `nextOffset`. */
  readonly offset?: number
  readonly nextOffset?: number
  readonly position?: number
  readonly problem?: string
  /** What to do. */
  readonly advice?: string
}
