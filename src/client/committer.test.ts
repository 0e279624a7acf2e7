import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { type CommittedOffset, RatatoskrError } from '../ports/index.ts'
import { type CommitSource, Committer } from './committer.ts'

const source = (partition: number, watermark: number): CommitSource & { watermark: number } => ({
  partition,
  watermark,
  committedOffset: -1,
  over: false,
})

function setup(commit: (offsets: readonly CommittedOffset[]) => Promise<void>) {
  const clock = new ManualClock()
  const failures: string[] = []
  const committer = new Committer({
    clock,
    intervalMs: 100,
    ackCountMax: 10,
    commit,
    failed: (error) => failures.push(error.code),
  })
  return { clock, committer, failures }
}

describe('a committer', () => {
  it('commits the others when one partition is not ours any more', async () => {
    const commits: (readonly CommittedOffset[])[] = []
    const { committer, clock, failures } = setup(async (offsets) => {
      if (offsets.some(({ partition }) => partition === 1)) throw new RatatoskrError('RTK_LEASE_LOST', 'gone')
      commits.push(offsets)
    })
    const sources = [source(0, 5), source(1, 6), source(2, 7)]
    for (const one of sources) committer.mark(one)
    await clock.advance(100)
    expect(commits).toEqual([[{ partition: 0, offset: 5 }], [{ partition: 2, offset: 7 }]])
    expect(sources.map((one) => one.committedOffset)).toEqual([5, -1, 7])
    expect(failures).toEqual([])
    expect(clock.pending).toBe(0)
  })

  it('commits what came while a request took long, also when nothing comes after it', async () => {
    const commits: number[] = []
    const first = Promise.withResolvers<void>()
    const { committer, clock } = setup(async ([{ offset }]) => {
      commits.push(offset)
      if (offset === 1) await first.promise
    })
    const one = source(0, 1)
    committer.mark(one)
    await clock.advance(100)
    one.watermark = 2
    committer.mark(one)
    await clock.advance(200)
    first.resolve()
    await clock.advance(100)
    expect(commits).toEqual([1, 2])
    expect(clock.pending).toBe(0)
  })

  it('has one request under way at a time, and commits what came meanwhile after it', async () => {
    const commits: number[] = []
    const answers: (() => void)[] = []
    const { committer, clock } = setup((offsets) => {
      commits.push(offsets[0].offset)
      return new Promise((resolve) => answers.push(resolve))
    })
    const one = source(0, 1)
    committer.mark(one)
    await clock.advance(100)
    one.watermark = 2
    committer.mark(one)
    const flushed = committer.flush()
    await clock.advance(1_000)
    expect(commits).toEqual([1])
    answers.shift()?.()
    await clock.advance(0)
    expect(commits).toEqual([1, 2])
    answers.shift()?.()
    await flushed
    expect(one.committedOffset).toBe(2)
  })

  it('tries again until its signal fires when it stops, and not at all when that is no use', async () => {
    let code: 'RTK_DISCONNECTED' | 'RTK_GROUP_NOT_FOUND' = 'RTK_DISCONNECTED'
    let tries = 0
    const { committer, clock, failures } = setup(async () => {
      tries++
      throw new RatatoskrError(code, 'from the test')
    })
    committer.mark(source(0, 1))
    const deadline = new AbortController()
    const stopping = committer.stop(deadline.signal)
    await clock.advance(500)
    expect(tries).toBe(6)
    deadline.abort()
    await stopping
    expect(failures).toEqual(['RTK_CANCELLED'])
    code = 'RTK_GROUP_NOT_FOUND'
    committer.mark(source(0, 2))
    await committer.stop(new AbortController().signal)
    expect(tries).toBe(7)
    expect(failures).toEqual(['RTK_CANCELLED', 'RTK_GROUP_NOT_FOUND'])
    expect(clock.pending).toBe(0)
  })
})
