/** How the files of a segment are called: by its first offset, as Kafka does. */

const stem = (baseOffset: number): string => String(baseOffset).padStart(20, '0')

export const pathOfSegment = (directory: string, baseOffset: number): string =>
  `${directory}/${stem(baseOffset)}.log`

export const pathOfIndex = (directory: string, baseOffset: number): string =>
  `${directory}/${stem(baseOffset)}.index`

/** The base offset in a segment's file name; undefined for other files. */
export function baseOffsetOfName(name: string): number | undefined {
  return /^\d{20}\.log$/.test(name) ? Number(name.slice(0, 20)) : undefined
}
