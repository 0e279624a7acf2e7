import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { RatatoskrError } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type JsonLoggerOptions, jsonLogger, silentLogger } from './logger.ts'

function recording(options: JsonLoggerOptions = {}) {
  const lines: string[] = []
  const logger = jsonLogger({ format: 'json', write: (line) => lines.push(line), now: () => 0, ...options })
  return { logger, lines, parsed: () => lines.map((line) => JSON.parse(line)) }
}

describe('jsonLogger', () => {
  it('writes one object a line', () => {
    const { logger, lines } = recording()
    logger.info('topic created', { topic: 'orders', partitions: 4 })
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"topic created","topic":"orders","partitions":4}\n',
    ])
  })

  it('leaves out lines below its level, which can change while it runs, for children too', () => {
    const { logger, parsed } = recording({ level: 'warn' })
    const child = logger.child({ part: 'store' })
    const all = (): void => {
      child.debug('d')
      child.info('i')
      child.warn('w')
      child.error('e')
    }
    all()
    logger.level = 'debug'
    all()
    logger.level = 'silent'
    all()
    expect(parsed().map((line) => line.message)).toEqual(['w', 'e', 'd', 'i', 'w', 'e'])
    expect(logger.level).toBe('silent')
  })

  it('adds the fields of its parents', () => {
    const { logger, parsed } = recording()
    logger.child({ a: 1, b: 1 }).child({ b: 2 }).info('m', { c: 3 })
    expect(parsed()[0]).toMatchObject({ a: 1, b: 2, c: 3 })
  })

  it('does not let a field take the place of its own names', () => {
    const { logger, parsed } = recording()
    logger.info('real', { message: 'forged', level: 'error', time: 'never' })
    expect(parsed()[0]).toEqual({ time: '1970-01-01T00:00:00.000Z', level: 'info', message: 'real' })
  })

  it('renders coded errors with code, details and cause, and foreign ones with their stack', () => {
    const { logger, parsed } = recording()
    const cause = Object.assign(new Error('disk'), { code: 'EIO' })
    logger.error('failed', {
      error: new RatatoskrError('RTK_STORE_FAILED', 'no', { cause, details: { n: 1 } }),
    })
    const { error } = parsed()[0]
    expect(error).toMatchObject({ code: 'RTK_STORE_FAILED', message: 'no', details: { n: 1 } })
    expect(error.stack).toBeUndefined()
    expect(error.cause).toMatchObject({ code: 'EIO', message: 'disk' })
    expect(error.cause.stack).toContain('Error: disk')
  })

  it('renders what JSON cannot hold', () => {
    const { logger, parsed } = recording()
    logger.info('m', {
      big: 12n,
      bytes: new Uint8Array(5),
      none: undefined,
      nan: Number.NaN,
      when: new Date(0),
      broken: new Date(Number.NaN),
      list: [1, { two: 2n }],
      call: () => 1,
      sign: Symbol('s'),
    })
    expect(parsed()[0]).toMatchObject({
      big: '12',
      bytes: '[5 bytes]',
      nan: 'NaN',
      when: '1970-01-01T00:00:00.000Z',
      broken: 'Invalid Date',
      list: [1, { two: '2' }],
      call: '[function]',
      sign: 'Symbol(s)',
    })
    expect(parsed()[0]).not.toHaveProperty('none')
  })

  it('never throws: not for circles, failing getters, nor a failing writer', () => {
    const { logger, parsed } = recording()
    const circle: Record<string, unknown> = {}
    circle.self = circle
    const trap = {
      get value(): never {
        throw new Error('trap')
      },
    }
    logger.info('m', { circle, trap, ok: 1 })
    expect(parsed()[0]).toMatchObject({ trap: '[unreadable]', ok: 1 })
    const failing = jsonLogger({
      write: () => {
        throw new Error('full')
      },
    })
    expect(() => failing.error('m')).not.toThrow()
  })

  it('writes exactly one line whatever the fields are', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary-ascii' }), fc.anything()),
        fc.constantFrom('json', 'text'),
        (fields, format) => {
          const { logger, lines } = recording({ format: format as 'json' | 'text' })
          logger.info('m', fields)
          expect(lines).toHaveLength(1)
          expect(lines[0].slice(0, -1)).not.toMatch(/[\r\n]/)
          if (format === 'json') expect(JSON.parse(lines[0]).message).toBe('m')
        },
      ),
    )
  })

  it('has a readable form for terminals', () => {
    const { logger, lines } = recording({ format: 'text' })
    logger.warn('slow fsync', { ms: 120, file: 'a b', topic: 'orders' })
    expect(lines).toEqual(['1970-01-01T00:00:00.000Z WARN  slow fsync ms=120 file="a b" topic=orders\n'])
  })

  it('writes JSON to stderr when that is no terminal, and survives its reader', () => {
    const script = `
      import { jsonLogger } from 'ratatoskr/adapters/node'
      const logger = jsonLogger()
      logger.info('to stderr')
      process.stderr.emit('error', new Error('EPIPE'))
      console.log('alive')`
    const run = spawnSync(process.execPath, ['--conditions=source', '--input-type=module', '-e', script], {
      encoding: 'utf8',
      cwd: new URL('../..', import.meta.url),
    })
    expect(run.stdout).toBe('alive\n')
    expect(JSON.parse(run.stderr)).toMatchObject({ level: 'info', message: 'to stderr' })
  })
})

describe('silentLogger', () => {
  it('is its own child', () => {
    expect(silentLogger.child({ a: 1 })).toBe(silentLogger)
    expect([
      silentLogger.debug('m'),
      silentLogger.info('m'),
      silentLogger.warn('m'),
      silentLogger.error('m'),
    ]).toEqual([undefined, undefined, undefined, undefined])
  })
})
