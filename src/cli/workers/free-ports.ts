/**
 * Makes certain that a port is nobody's before several event loops share it: who listens with `reusePort` is not told that
 * another broker of the same user does so too.
 */
import { createServer } from 'node:net'
import { RatatoskrError } from '../../ports/index.ts'

/** @throws RTK_ADDRESS_IN_USE; whatever else is wrong with the address is left to whoever listens there */
export async function assertFree(host: string, port: number): Promise<void> {
  if (port === 0) return
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EADDRINUSE') resolve()
      else
        reject(
          new RatatoskrError('RTK_ADDRESS_IN_USE', `${host}:${port} is taken; choose another port, or 0`, {
            cause,
          }),
        )
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()))
  })
}
