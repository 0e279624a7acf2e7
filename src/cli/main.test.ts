/** The command as a process: what only a process of its own can show, exit codes and closed pipes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { httpTransport } from 'ratatoskr/adapters/http'
import { startTestBroker } from 'ratatoskr/testing'
import { expect, it } from 'vitest'
import { runCommand } from '../../contract-tests/batteries/harness/run-command.ts'
import { cleanEnvironment, nodeArguments } from '../../contract-tests/batteries/harness/server-process.ts'

it.each([
  [0, 'config validate', 'the configuration is valid\n'],
  [2, 'topic list --no-such-option', "error: unknown option '--no-such-option'\n"],
  [5, 'topic list --url http://127.0.0.1:1', 'ratatoskr: RTK_DISCONNECTED: '],
  [78, 'config validate --set storage.kind=tape', 'ratatoskr: RTK_CONFIG_INVALID: '],
])('ends with %i: %s', async (code, line, told) => {
  const { stderr, stdout, ...ended } = await runCommand(line.split(' '))
  expect([ended.code, stderr.slice(0, told.length), stdout.length]).toEqual([code, told, 0])
})

it('ends well when its reader has seen enough', async () => {
  await using broker = await startTestBroker({ transports: [httpTransport({ port: 0 })] })
  await broker.createTopic('orders')
  const payload = 'x'.repeat(10_000)
  await Promise.all(Array.from({ length: 200 }, () => broker.publish('orders', payload)))
  const command = ['sub', 'orders', '--from', 'earliest', '--url', broker.addresses[0].url]
  const child = spawn(process.execPath, [...nodeArguments, ...command], { env: cleanEnvironment() })
  let told = ''
  child.stderr.on('data', (chunk) => {
    told += chunk
  })
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const [code, signal] = await once(child, 'close')
  expect([code, signal, told]).toEqual([0, null, ''])
})
