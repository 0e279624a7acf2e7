/** Reads a text frame as a request. */
import { isRatatoskrError, parseJson, RatatoskrError, requestIdMax } from 'ratatoskr/ports'
import type { CloseReason } from './carrier.ts'

/** A request, its own fields not yet checked. */
export interface Request {
  readonly op: string
  /** Undefined for a notification, which is not answered. */
  readonly id: number | undefined
  readonly fields: Readonly<Record<string, unknown>>
}

/** A frame that ends the connection: what to tell the peer, and how to close. */
export class FrameRefused extends Error {
  readonly error: RatatoskrError
  readonly closeReason: CloseReason

  constructor(closeReason: CloseReason, what: string) {
    super(what)
    this.error = new RatatoskrError('RTK_FRAME_MALFORMED', what)
    this.closeReason = closeReason
  }
}

/** @throws FrameRefused when the text is no request and cannot be answered by id */
export function readRequest(text: string, depthMax: number): Request {
  const value = parsed(text, depthMax)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const { op, id, ...fields } = value as Record<string, unknown>
    if (typeof op === 'string' && (id === undefined || isRequestId(id))) return { op, id, fields }
  }
  throw new FrameRefused(
    'protocol',
    `a request is { "op": "…", "id": …, … } with an id from 0 to ${requestIdMax}`,
  )
}

function parsed(text: string, depthMax: number): unknown {
  try {
    return parseJson(text, { depthMax })
  } catch (error) {
    if (isRatatoskrError(error)) throw new FrameRefused('invalidText', error.message)
    throw error
  }
}

const isRequestId = (id: unknown): id is number =>
  Number.isInteger(id) && (id as number) >= 0 && (id as number) <= requestIdMax
