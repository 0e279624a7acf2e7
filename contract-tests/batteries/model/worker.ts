/** A thread of the model-based test: makes the runs of the seeds that it is given. */
import { serveChunks } from '../harness/seeded.ts'
import { runChunk } from './chunk.ts'

serveChunks(runChunk)
