/** Ports for servers that come back on them. */
import { createServer } from 'node:net'

/**
 * A port that nobody listens on, below the range from which the system takes those of outgoing connections: one of those
 * might have it while the server is away, and a client that tries to come back could even be connected to itself.
 */
export async function freePort(random: () => number): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(random() * 20_000)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}
