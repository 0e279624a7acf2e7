/** The operations on dead letters, as rows of the table in operations.ts. */
import {
  deadLetterPageToJson,
  deadLetterShape,
  jsonEncoding,
  jsonString,
  optional,
  redriveShape,
} from 'ratatoskr/ports'
import { type Operation, operation } from './operation.ts'

const topic = jsonString

export const deadLetterOperations: readonly (readonly [name: string, row: Operation])[] = [
  [
    'deadLetters',
    operation(
      { topic, ...deadLetterShape, encoding: optional(jsonEncoding) },
      async (context, { topic, encoding, ...request }, requestId) => {
        const call = { signal: context.signalFor(requestId) }
        return deadLetterPageToJson(await context.session.deadLetters(topic, request, call), encoding)
      },
    ),
  ],
  [
    'redriveDeadLetters',
    operation({ topic, ...redriveShape }, (context, { topic, ...request }, requestId) =>
      context.session.redriveDeadLetters(topic, request, { signal: context.signalFor(requestId) }),
    ),
  ],
  [
    'purgeDeadLetters',
    operation({ topic, ...deadLetterShape }, (context, { topic, ...request }, requestId) =>
      context.session.purgeDeadLetters(topic, request, { signal: context.signalFor(requestId) }),
    ),
  ],
]
