/** Places in a topic, as those who read name them. */

/** Where to begin reading. */
export type StartPosition =
  | 'earliest'
  | 'latest'
  | { readonly offset: number }
  /** The first message whose timestamp is at least this. */
  | { readonly timestampMs: number }
  /** An offset for each partition; partitions not named begin at `otherwise`, or at the earliest. */
  | { readonly offsets: readonly PartitionOffset[]; readonly otherwise?: 'earliest' | 'latest' }

/** A place in a topic. */
export interface PartitionOffset {
  readonly partition: number
  readonly offset: number
}
