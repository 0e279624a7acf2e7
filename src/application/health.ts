/** How the broker is: its life, and what is being restarted. */
import type { ComponentHealth, Health, HealthStatus } from '../ports/index.ts'

/** Where the broker is in its life. */
export type LifeState = 'stopped' | 'starting' | 'running' | 'draining' | 'stopping'

/**
 * @param transports health of every transport, well or not
 * @param troubled health of whatever else is not well
 */
export function brokerHealth(
  life: LifeState,
  uptimeMs: number,
  transports: readonly ComponentHealth[],
  troubled: readonly ComponentHealth[],
): Health {
  const components = [
    ...transports,
    ...troubled.filter(({ name }) => transports.every((one) => one.name !== name)),
  ]
  const well = components.every(({ status }) => status === 'ok')
  const status: HealthStatus =
    life === 'running' ? (well ? 'ok' : 'degraded') : life === 'draining' ? 'stopping' : life
  return { status, ready: life === 'running', uptimeMs, components }
}
