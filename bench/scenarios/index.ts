/** The scenarios that `npm run bench` knows. A new one is a file here and a line below. */
import type { Scenario } from '../harness/scenario.ts'
import { streamScenario } from './stream.ts'

export const scenarios: readonly Scenario[] = [
  streamScenario('memory', 'ws'),
  streamScenario('memory', 'grpc'),
  streamScenario('memory', 'http'),
  streamScenario('fsync', 'ws'),
  streamScenario('fsync', 'grpc'),
]
