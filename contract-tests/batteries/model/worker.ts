/** A thread of the model-based test: makes the runs of the seeds that it is given. */
import { parentPort } from 'node:worker_threads'
import { type Chunk, runChunk } from './chunk.ts'

parentPort?.on('message', async (chunk: Chunk) => parentPort?.postMessage(await runChunk(chunk)))
