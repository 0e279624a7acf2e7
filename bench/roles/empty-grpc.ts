/** A gRPC server whose publish does nothing: what grpc-js itself can do with the same requests and answers. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { MessageServiceService } from 'ratatoskr/proto'
import { serveRole } from '../harness/child.ts'

serveRole({
  start: async (): Promise<string> => {
    const server = new Server()
    const { publish } = MessageServiceService
    server.addService({ publish }, { publish: (_call: unknown, answer: Answer) => answer(null, {}) })
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      )
    })
    return `127.0.0.1:${port}`
  },
})

type Answer = (error: null, response: object) => void
