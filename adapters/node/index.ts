/** `ratatoskr/adapters/node`: the platform port on Node: clock, randomness, checksum, compression and logging. */
import type { Platform } from 'ratatoskr/ports'
import { nodeChecksum } from './checksum.ts'
import { systemClock } from './clock.ts'
import { nodeCompression } from './compression.ts'
import { nodeDiagnostics } from './diagnostics.ts'
import { jsonLogger } from './logger.ts'
import { systemRandom } from './random.ts'

export { nodeChecksum } from './checksum.ts'
export { systemClock } from './clock.ts'
export { collectOnceIdle, keepHeapSmall, keepHeapSmallWhileIdle, paceCollector } from './collector.ts'
export { nodeCompression } from './compression.ts'
export { nodeDiagnostics } from './diagnostics.ts'
export {
  type JsonLoggerOptions,
  jsonLogger,
  type LeveledLogger,
  type LogLevel,
  logLevels,
  silentLogger,
} from './logger.ts'
export { systemRandom } from './random.ts'

/**
 * The platform of a Node process.
 * @param parts what to use instead of Node's: `nodePlatform({ logger: jsonLogger({ level: 'warn' }) })`
 */
export function nodePlatform(parts: Partial<Platform> = {}): Platform {
  const clock = parts.clock ?? systemClock
  return Object.freeze({
    clock,
    random: parts.random ?? systemRandom,
    checksum: parts.checksum ?? nodeChecksum(),
    compression: parts.compression ?? nodeCompression(),
    logger: parts.logger ?? jsonLogger({ now: () => clock.now() }),
    diagnostics: parts.diagnostics ?? nodeDiagnostics,
  })
}
