/** `authorize`: what a decision costs that was made before, and what a stream costs whose every call is decided about. */
import { randomBytes } from 'node:crypto'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import type { Grants, Principal } from 'ratatoskr/ports'
import { median } from '../../src/cli/bench/statistics.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { kinds, topic } from './ours.ts'
import { runBatches, single } from './stream.ts'

const decisionsPerTurn = 1_000_000
const turns = 5
const firstTurns = 200
const topicsAsked = 100
const nanosecondsPerMs = 1e6
/** What one stream differs from the next on a busy machine: the mean of several has to be nearer. */
const noise = 0.9

export const authorize: Scenario = {
  name: 'authorize',
  about: 'a decision that is remembered, in nanoseconds; a stream over TCP with security and without',
  async run(options) {
    const figures = new Figures()
    const grants = await grantsOfBench()
    for (let run = 0; run < options.runs; run++) {
      figures.add('a remembered decision', 'ns', decisionNs(grants), { atMost: 100 })
      figures.add('a decision for the first time', 'ns', await firstDecisionNs())
      const token = randomBytes(16).toString('hex')
      // In turns, so that neither is always the first.
      const first = await streamRate(options, run % 2 === 0 ? token : undefined)
      const second = await streamRate(options, run % 2 === 0 ? undefined : token)
      const [on, off] = run % 2 === 0 ? [first, second] : [second, first]
      figures.add('stream with security', '/s', on)
      figures.add('stream without', '/s', off)
      figures.add('with / without', '×', on / off, { atLeast: noise })
      options.progress(`run ${run + 1} of ${options.runs}: ${on} messages/s with security, ${off} without`)
    }
    return figures.report(this.name, 'memory')
  },
}

const streamRate = async (options: ScenarioOptions, token: string | undefined): Promise<number> => {
  const broker = { kept: kinds.memory, transport: 'tcp', topics: [topic] } as const
  const secured = token === undefined ? {} : { token }
  const { messagesPerSecond } = await inFolder(options.directory, (directory) =>
    runBatches({ ...broker, ...secured, directory }, single, options),
  )
  return messagesPerSecond
}

async function grantsOfBench(): Promise<Grants> {
  const token = randomBytes(16).toString('hex')
  const rules = ['audit.*', 'orders.**', 'bench.*'].map((topics) => ({ actions: ['topic:*'], topics }))
  const { authenticator, authorizer } = staticTokens({ tokens: { [token]: { name: 'bench', allow: rules } } })
  const peer = { transport: 'bench', address: 'bench', local: true, encrypted: false }
  const principal: Principal = await authenticator.authenticate(peer, { kind: 'bearer', token })
  return authorizer.grants(principal)
}

/** The median of what each of some fresh grants takes for topics that it was never asked about. */
async function firstDecisionNs(): Promise<number> {
  const times: number[] = []
  for (let turn = 0; turn < firstTurns; turn++) {
    const grants = await grantsOfBench()
    const beginMs = performance.now()
    for (let place = 0; place < topicsAsked; place++) grants.allows('topic:publish', resourceOf(place))
    times.push(((performance.now() - beginMs) * nanosecondsPerMs) / topicsAsked)
  }
  return median(times)
}

const resourceOf = (place: number) =>
  ({ kind: 'topic', namespace: 'default', name: `bench.topic-${place}` }) as const

/** Asks about many topics in turn: one alone would be answered by the processor's caches. */
function decisionNs(grants: Grants): number {
  const resources = Array.from({ length: topicsAsked }, (_, place) => resourceOf(place))
  const times = Array.from({ length: turns }, () => {
    let allowed = 0
    const beginMs = performance.now()
    for (let i = 0; i < decisionsPerTurn; i++) {
      if (grants.allows('topic:publish', resources[i % topicsAsked])) allowed++
    }
    const elapsedMs = performance.now() - beginMs
    if (allowed !== decisionsPerTurn) throw new Error(`${allowed} of ${decisionsPerTurn} were allowed`)
    return (elapsedMs * nanosecondsPerMs) / decisionsPerTurn
  })
  return median(times)
}
