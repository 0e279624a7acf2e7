import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { BrokerBench, settled } from '../testing/broker-bench.ts'
import { defaultRestartPolicy, Supervision, type Supervisor } from './supervisor.ts'

interface Child {
  readonly supervisor: Supervisor
  readonly restartedAt: number[]
  restart: () => Promise<void>
}

const failure = new RatatoskrError('RTK_STORE_FAILED', 'planned')

function supervised(): { bench: BrokerBench; supervision: Supervision; child: Child } {
  const bench = new BrokerBench()
  const supervision = new Supervision(bench.platform, defaultRestartPolicy, () => {})
  const child: Child = {
    restartedAt: [],
    restart: async () => {},
    supervisor: supervision.supervise({
      name: 'partition x/0',
      restart: () => {
        child.restartedAt.push(bench.clock.monotonic())
        return child.restart()
      },
    }),
  }
  return { bench, supervision, child }
}

describe('a supervisor', () => {
  it('pauses longer with each failure, and seldom tries after too many', async () => {
    const { bench, supervision, child } = supervised()
    child.restart = () => Promise.reject(failure)
    child.supervisor.failed(failure)
    await bench.clock.advance(70_000)
    const pauses = child.restartedAt.map((at, place) => at - (child.restartedAt[place - 1] ?? 0))
    // Jitter is 0.5 here: three quarters of 50, 100, 200 and 400 ms, then the pause of a failed child.
    expect(pauses).toEqual([37.5, 75, 150, 300, 30_000, 30_000])
    expect(supervision.troubled).toEqual([
      { name: 'partition x/0', status: 'failed', restarts: 0, lastError: 'RTK_STORE_FAILED' },
    ])
  })

  it('takes one report for each failure', async () => {
    const { bench, child } = supervised()
    for (let i = 0; i < 10; i++) child.supervisor.failed(failure)
    await bench.clock.advance(1_000)
    expect(child.restartedAt).toHaveLength(1)
  })

  it('forgets failures that are long past', async () => {
    const { bench, supervision, child } = supervised()
    for (let i = 0; i < 20; i++) {
      child.supervisor.failed(failure)
      await bench.clock.advance(20_000)
    }
    expect(child.restartedAt).toHaveLength(20)
    expect(supervision.troubled).toEqual([])
    expect(child.supervisor.health).toMatchObject({ status: 'ok', restarts: 20 })
  })

  it.each(['at once', 'later'])('hears of a failure that comes while it restarts, %s', async (when) => {
    const { bench, child } = supervised()
    child.restart = async () => {
      child.restart = async () => {}
      if (when === 'later') await Promise.resolve()
      child.supervisor.failed(failure)
    }
    child.supervisor.failed(failure)
    await bench.clock.advance(40)
    expect(child.supervisor.health).toMatchObject({ status: 'restarting', restarts: 1 })
    await bench.clock.advance(1_000)
    expect(child.restartedAt).toHaveLength(2)
    expect(child.supervisor.health).toMatchObject({ status: 'ok', restarts: 2 })
  })

  it('makes coded errors of foreign ones', () => {
    const { child } = supervised()
    child.supervisor.failed(new Error('EIO'))
    expect(child.supervisor.health).toMatchObject({ status: 'restarting', lastError: 'RTK_INTERNAL' })
  })

  it('does nothing more once it is stopped, and waits for the restart that runs', async () => {
    const { bench, supervision, child } = supervised()
    let finish = (): void => {}
    child.restart = () =>
      new Promise((_resolve, reject) => {
        finish = () => reject(failure)
      })
    child.supervisor.failed(failure)
    await bench.clock.advance(100)
    let stopped = false
    const stopping = child.supervisor.stop().then(() => (stopped = true))
    await settled()
    expect(stopped).toBe(false)
    finish()
    await stopping
    child.supervisor.failed(failure)
    await bench.clock.advance(100_000)
    expect(child.restartedAt).toHaveLength(1)
    expect(supervision.troubled).toEqual([])
  })
})
