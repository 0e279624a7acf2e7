import { nodePlatform } from 'ratatoskr/adapters/node'
import { expect, it } from 'vitest'
import { BatchBuilder, RecordCursor } from '../../ports/index.ts'
import { checkBatches } from './check-batch.ts'
import { MessageChecker, MessageMaker } from './messages.ts'

const { checksum } = nodePlatform()

/** Two batches back to back, of two messages each. */
function batches() {
  const builder = new BatchBuilder({ checksum })
  const maker = new MessageMaker(50)
  const parts = [0, 2].map(() => {
    for (let i = 0; i < 2; i++) builder.add({ payload: maker.next(), timestampMs: 1 })
    return builder.build().slice()
  })
  const bytes = Buffer.concat(parts)
  function* records() {
    const cursor = new RecordCursor()
    for (const at of [0, parts[0].length]) {
      cursor.open(bytes, at)
      while (cursor.next()) yield cursor
    }
  }
  return { bytes, records, second: parts[0].length }
}

it('checks every record of every batch', () => {
  const checker = new MessageChecker(50)
  checkBatches(checker, batches(), checksum)
  expect(checker.findings(4)).toMatchObject({ received: 4, lost: 0, damaged: 0 })
})

it('finds a checksum that is wrong, in any of them', () => {
  const damaged = batches()
  // Within a payload, where no check of messages looks.
  damaged.bytes[damaged.bytes.length - 10] ^= 1
  const checker = new MessageChecker(50)
  checkBatches(checker, damaged, checksum)
  expect(checker.findings(4)).toMatchObject({ received: 4, lost: 0, damaged: 1 })
})
