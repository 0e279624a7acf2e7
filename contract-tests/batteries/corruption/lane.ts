/**
 * One process of the corruption battery: makes the images of a seed and runs rounds on them, one after the other:
 * `node --conditions=source contract-tests/batteries/corruption/lane.ts SEED FROM TO [BUG]`, without a parent to look at rounds
 * that failed. What it finds goes to the parent, which also sees by the silence when a round does not end.
 */
import { seededDraw } from '../../seeded-draw.ts'
import { focusOf } from './focus.ts'
import { makeImages } from './image.ts'
import { type MutationKind, mutate } from './mutations.ts'
import { judge, type Outcome } from './verdict.ts'

/** What the lane tells of a round: that it begins, or how it ended. */
export interface LaneMessage {
  readonly round: number
  readonly kind: MutationKind
  readonly what: string
  readonly outcome?: Outcome
  readonly failure?: string
}

const [seed, from, to] = process.argv.slice(2).map(Number)
const { kinds, files } = focusOf(process.argv[5])
const images = await makeImages(seed)
const tell = (message: LaneMessage): void => {
  if (process.send !== undefined) process.send(message)
  else if (message.outcome !== undefined || message.failure !== undefined)
    console.log(JSON.stringify(message))
}

for (let round = from; round < to; round++) {
  const random = seededDraw(seed ^ Math.imul(round + 1, 0x9e3779b1))
  const kind = kinds[round % kinds.length]
  const image = images[Math.floor(random() * images.length)]
  const mutation = mutate(kind, image, random, files)
  const about = { round, kind, what: `${image.name} image, ${mutation.what}` }
  tell(about)
  try {
    tell({ ...about, outcome: await judge(image, mutation, random() < 0.3) })
  } catch (error) {
    tell({ ...about, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}
process.disconnect?.()
