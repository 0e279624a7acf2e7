import type { FastifyReply } from 'fastify'
import { RatatoskrError } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { problemOf, sendProblem } from './problem.ts'

function headersOf(error: RatatoskrError): Record<string, unknown> {
  const headers: Record<string, unknown> = {}
  const reply = {
    header: (name: string, value: unknown) => {
      headers[name] = value
      return reply
    },
    code: () => reply,
    type: () => reply,
    send: () => reply,
  }
  sendProblem(reply as unknown as FastifyReply, problemOf(error))
  return headers
}

it.each([
  [{ retryAfterMs: 280 }, 1],
  [{ retryAfterMs: 1_001 }, 2],
  [{}, 1],
])('says when to come again, in whole seconds: %j', (details, seconds) => {
  expect(headersOf(new RatatoskrError('RTK_OVERLOADED', 'too much', { details }))).toEqual({
    'retry-after': seconds,
  })
})

it('says nothing of it where coming again does not help', () => {
  expect(headersOf(new RatatoskrError('RTK_LIMIT_EXCEEDED', 'too many'))).toEqual({})
})
