import { utf8Text } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { nodeDiagnostics } from './diagnostics.ts'
import { nodePlatform } from './index.ts'

/** Keeps the thread from everything else. */
function busyFor(cpuMs: number): void {
  const from = process.threadCpuUsage()
  for (let used = 0; used < cpuMs * 1_000; ) {
    const { user, system } = process.threadCpuUsage(from)
    used = user + system
  }
}

const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 12))
}

it('tells what the process uses', () => {
  const held = new Uint8Array(32 * 1024 * 1024).fill(1)
  const { residentBytes, heapBytes, bufferBytes, cpuMs } = nodePlatform().diagnostics?.load() ?? {}
  expect(residentBytes).toBeGreaterThan(held.length)
  expect(bufferBytes).toBeGreaterThanOrEqual(held.length)
  expect(heapBytes).toBeGreaterThan(1024 * 1024)
  expect(cpuMs).toBeGreaterThan(10)
})

it('tells how late the event loop was since it was asked before', async () => {
  nodeDiagnostics.load()
  await turns(3)
  busyFor(150)
  await turns(2)
  expect(nodeDiagnostics.load().loopDelayMs).toBeGreaterThan(100)
})

it('profiles where the time goes', async () => {
  const running = await nodeDiagnostics.startProfile('cpu')
  busyFor(60)
  const { nodes, samples } = JSON.parse(utf8Text(await running.stop())) as {
    nodes: { callFrame: { functionName: string } }[]
    samples: number[]
  }
  expect(nodes.map(({ callFrame }) => callFrame.functionName)).toContain('busyFor')
  expect(samples.length).toBeGreaterThan(5)
})

it('profiles what stays on the heap', async () => {
  const running = await nodeDiagnostics.startProfile('heap')
  const kept = (function keepMuch() {
    return Array.from({ length: 200_000 }, (_, i) => ({ i }))
  })()
  const { head } = JSON.parse(utf8Text(await running.stop())) as { head: object }
  expect(JSON.stringify(head)).toContain('keepMuch')
  expect(kept.length).toBe(200_000)
})
