import { expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { QueueBench } from './testing/queue-bench.ts'

it('a seek that could not be stored is stored later, and the group goes on', async () => {
  const bench = await QueueBench.start()
  await bench.publish(1)
  await bench.session.createQueue('orders', 'g')
  const { state } = bench.bench
  state.onChange = () => {
    throw new RatatoskrError('RTK_STORE_FAILED', 'the disk is sick')
  }
  const position = { offsets: [{ partition: 0, offset: 0 }] }
  await expect(bench.session.seekGroup('orders', 'g', { position })).rejects.toMatchObject({
    code: 'RTK_STORE_FAILED',
  })
  state.onChange = () => {}
  await bench.pass(1_000)
  const sink = await bench.join()
  expect(sink.offsets).toEqual([0])
})
