/** Where something lies in a log: by bytes of a segment's file, and by offsets. */

/** A batch boundary in a segment's file. */
export interface Place {
  readonly position: number
  /** Offset of the batch that begins there. */
  readonly offset: number
}

/** Whole batches in a row. */
export interface Run {
  readonly start: Place
  readonly end: Place
}

/** A part of a segment that is lost to damage: by bytes and by offsets. One of the two may be empty. */
export interface Gap {
  readonly position: number
  readonly endPosition: number
  readonly offset: number
  readonly endOffset: number
}

export const gapOf = (from: Place, to: Place): Gap => ({
  position: from.position,
  endPosition: to.position,
  offset: from.offset,
  endOffset: to.offset,
})
