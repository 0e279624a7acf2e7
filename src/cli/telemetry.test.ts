import { metrics } from '@opentelemetry/api'
import { afterEach, expect, it } from 'vitest'
import { telemetryIsRegistered } from './telemetry.ts'

afterEach(() => metrics.disable())

it('sees a provider of metrics that was registered', () => {
  metrics.disable()
  for (const symbol of Object.getOwnPropertySymbols(globalThis)) {
    if (symbol.description?.startsWith('opentelemetry') === true)
      delete (globalThis as Record<symbol, unknown>)[symbol]
  }
  expect(telemetryIsRegistered()).toBe(false)
  metrics.setGlobalMeterProvider({ getMeter: (name) => metrics.getMeter(name) })
  expect(telemetryIsRegistered()).toBe(true)
})
