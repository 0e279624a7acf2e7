/** Every planted fault must make the transport suite fail; otherwise the suite specifies less than it says. */
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { describe, expect, it } from 'vitest'
import { jsonProbe } from '../../adapters/websocket/testing/json-probe.ts'
import { failuresOf, TransportContext, type TransportSetup, transportCases } from '../index.ts'
import { type TransportMutant, transportMutants, wrappedOnly } from './transport/transport-mutants.ts'

/** The WebSocket transport with JSON: there every operation goes message by message through the session. */
const setupOf = (mutate: TransportMutant['mutate']): TransportSetup => ({
  make: (options) => mutate(webSocketTransport(options)),
  connect: (address, token) =>
    jsonProbe({
      url: address.url,
      token,
      publishBatch: () => Promise.reject(new Error('not in these cases')),
    }),
  sendGarbage: async () => {},
})

describe('mutants of a transport', () => {
  it('are at least eight, with names of their own', () => {
    expect(new Set(transportMutants.map(({ name }) => name)).size).toBe(transportMutants.length)
    expect(transportMutants.length).toBeGreaterThanOrEqual(8)
  })

  it('differ by their fault alone: wrapped without one, the transport passes the same cases', async () => {
    const names = new Set(transportMutants.map(({ caughtBy }) => caughtBy))
    const cases = transportCases.filter(({ name }) => names.has(name))
    expect(cases).toHaveLength(names.size)
    expect(await failuresOf(cases, async () => new TransportContext(setupOf(wrappedOnly)))).toEqual([])
  })

  it.each(transportMutants.map((mutant) => [mutant.name, mutant] as const))(
    'caught: %s',
    async (_, { mutate, caughtBy }) => {
      const cases = transportCases.filter(({ name }) => name === caughtBy)
      const failures = await failuresOf(cases, async () => new TransportContext(setupOf(mutate)), 6_000)
      expect(failures.map(({ name }) => name)).toEqual([caughtBy])
    },
  )
})
