/** The scenarios that `npm run bench` knows. A new one is a file here and a line below. */
import type { Scenario } from '../harness/scenario.ts'
import { allocations } from './allocations.ts'
import { authorize } from './authorize.ts'
import { batchSweep } from './batch-sweep.ts'
import { checksumScenario } from './checksum.ts'
import { compressionScenario } from './compression.ts'
import { diskSize } from './disk-size.ts'
import { diskWrite } from './disk-write.ts'
import { durableAppend } from './durable-append.ts'
import { embedded } from './embedded.ts'
import { eventLoop } from './event-loop.ts'
import { firstBroker } from './first-broker.ts'
import { floors } from './floors.ts'
import { footprint } from './footprint.ts'
import { manyTopics } from './many-topics.ts'
import { memorySize } from './memory-size.ts'
import { latencyScenario, messagesScenario, pingPongScenario } from './messages.ts'
import { noisyScenario } from './noisy.ts'
import { overloadScenario } from './overload.ts'
import { queueScenario } from './queue.ts'
import { queueSoak } from './queue-soak.ts'
import { queueTable } from './queue-table.ts'
import { recovery } from './recovery.ts'
import { scheduled } from './scheduled.ts'
import { singleAcks } from './single-acks.ts'
import { soak } from './soak.ts'
import { storeSoak } from './store-soak.ts'
import { fanOut, streamScenario } from './stream.ts'
import { subscribers } from './subscribers.ts'
import { tierScenarios } from './tiers.ts'
import { unaryGrpc, unaryGrpcBare, unaryGrpcWorkers } from './unary.ts'
import { workersScenario } from './workers.ts'

export const scenarios: readonly Scenario[] = [
  streamScenario('memory', 'tcp'),
  streamScenario('memory', 'unix'),
  streamScenario('memory', 'ws'),
  streamScenario('memory', 'grpc'),
  streamScenario('memory', 'http'),
  streamScenario('fsync', 'tcp'),
  streamScenario('fsync', 'ws'),
  streamScenario('fsync', 'grpc'),
  fanOut('tcp'),
  messagesScenario('ws'),
  unaryGrpc,
  unaryGrpcBare,
  unaryGrpcWorkers,
  embedded,
  allocations,
  authorize,
  subscribers,
  overloadScenario('memory'),
  overloadScenario('fsync'),
  noisyScenario('memory'),
  noisyScenario('fsync'),
  soak,
  footprint,
  ...tierScenarios,
  floors,
  firstBroker,
  batchSweep,
  pingPongScenario('tcp', 1),
  pingPongScenario('ws', 1.2),
  latencyScenario('memory', 'tcp'),
  latencyScenario('fsync', 'tcp'),
  durableAppend,
  diskWrite,
  singleAcks,
  recovery,
  diskSize,
  memorySize,
  manyTopics,
  eventLoop,
  storeSoak,
  queueSoak,
  queueTable,
  queueScenario('embedded'),
  queueScenario('grpc'),
  scheduled,
  checksumScenario,
  compressionScenario,
  workersScenario,
]
