/**
 * What to damage to find a planted bug: where only few mutations can show one, those are made, so that it is found with any
 * seed. A bug that is not here is looked for with mutations of all kinds.
 */
import { type FileKind, type MutationKind, mutationKinds } from './mutations.ts'

export interface Focus {
  readonly kinds: readonly MutationKind[]
  /** The files that are damaged; undefined for any. */
  readonly files?: FileKind
}

const focuses: Readonly<Record<string, Focus>> = {
  // Shows only where one segment is damaged in two places.
  'a scan gives up after the first gap': { kinds: ['sectors swapped'], files: 'segment' },
  'an index is believed whatever its checksum': { kinds: ['bit flipped', 'byte changed'], files: 'index' },
  // Four bytes of each batch, which its checksum does not cover.
  'the leader epoch is not checked': { kinds: ['bit flipped', 'byte changed'], files: 'segment' },
  'segments may overlap': { kinds: ['segment doubled'] },
  'both copies of the state are the first': {
    kinds: ['byte changed', 'sector zeroed', 'truncated', 'other file damaged'],
    files: 'state',
  },
}

export const focusOf = (bug: string | undefined): Focus => focuses[bug ?? ''] ?? { kinds: mutationKinds }
