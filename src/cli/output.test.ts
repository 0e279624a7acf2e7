import { PassThrough, Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { Progress, printRecord, printRows, write } from './output.ts'

/** All that was written: a read gives what one write gave. */
function printed(out: PassThrough): string {
  let text = ''
  for (let chunk = out.read(); chunk !== null; chunk = out.read()) text += String(chunk)
  return text
}

describe('printRows', () => {
  const rows = [
    { name: 'a', value: 1 },
    { name: 'longer', value: undefined },
  ]
  it.each([
    ['table', 'NAME    VALUE\na       1\nlonger  -\n'],
    ['json', `${JSON.stringify(rows, null, 2)}\n`],
    ['ndjson', '{"name":"a","value":1}\n{"name":"longer"}\n'],
  ] as const)('prints as %s', async (format, text) => {
    const out = new PassThrough()
    await printRows(rows, ['name', 'value'], format, out)
    expect(printed(out)).toBe(text)
  })
})

describe('printRecord', () => {
  it.each([
    ['table', 'a   1\nbc  {"d":null}\n'],
    ['json', '{\n  "a": 1,\n  "bc": {\n    "d": null\n  }\n}\n'],
    ['ndjson', '{"a":1,"bc":{"d":null}}\n'],
  ] as const)('prints as %s', async (format, text) => {
    const out = new PassThrough()
    await printRecord({ a: 1, bc: { d: null } }, format, out)
    expect(printed(out)).toBe(text)
  })

  it('shows control characters of a table as escapes, for they could rewrite the screen', async () => {
    const out = new PassThrough()
    await printRecord({ key: '\u001b[2Jgone\n' }, 'table', out)
    expect(printed(out)).toBe('key  \\x1b[2Jgone\\x0a\n')
  })
})

describe('write', () => {
  it('waits while the reader is slower', async () => {
    const accept = Promise.withResolvers<() => void>()
    const out = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => accept.resolve(done) })
    let done = false
    const writing = write(out, 'more than one byte').then(() => {
      done = true
    })
    const taken = await accept.promise
    expect(done).toBe(false)
    taken()
    await writing
    expect(done).toBe(true)
  })
})

describe('Progress', () => {
  it('shows the last line alone where there is no terminal', () => {
    const out = new PassThrough()
    const progress = new Progress('work', out)
    progress.update('1 of 2')
    progress.finish('2 of 2')
    expect(printed(out)).toBe('work: 2 of 2\n')
  })

  it('writes over its own line on a terminal, and not at every step', () => {
    const out = Object.assign(new PassThrough(), { isTTY: true })
    const progress = new Progress('work', out)
    for (let i = 0; i < 1_000; i++) progress.update(`${i}`)
    progress.finish('all')
    const lines = printed(out).split('\r\u001b[K')
    expect(lines.at(-1)).toBe('work: all\n')
    expect(lines.length).toBeLessThan(100)
  })
})
