/** The transport contract, over TCP and over a Unix socket. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TransportSetup, transportContract } from 'ratatoskr/contract-tests'
import { tcpSetup } from '../../src/composition/testing/tcp-setup.ts'
import { tcpTransport } from './index.ts'

transportContract('TCP', async () => tcpSetup)

async function unixSetup(): Promise<TransportSetup> {
  const folder = await mkdtemp(join(tmpdir(), 'rtk-unix-'))
  let made = 0
  return {
    ...tcpSetup,
    make: ({ taken }) => tcpTransport({ path: taken?.host ?? join(folder, `${made++}.sock`) }),
    teardown: () => rm(folder, { recursive: true, force: true }),
  }
}

transportContract('Unix socket', unixSetup, {
  knownGaps: [
    {
      test: 'refuses to listen beyond loopback without authentication, unless told insecure',
      reason: 'a Unix socket is on no network',
    },
  ],
})
