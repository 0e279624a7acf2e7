/**
 * Arguments and results of forwarded calls as a structured clone can carry them: errors keep their code, bytes are copied
 * out of the larger buffers that they are views of, and messages become plain.
 */

import { isRatatoskrError } from '../../domain/errors.ts'
import type { Message } from '../../domain/message.ts'
import { errorOf, errorToMesh, type MeshError } from './mesh-errors.ts'

/** The one key of an object that stands for an error. */
const errorKey = 'ratatoskr:error'

export function pack(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  // Not `slice`: that of a Buffer of Node copies nothing, and what it is a view of would cross as a whole.
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (isRatatoskrError(value)) return { [errorKey]: errorToMesh(value) }
  if (Array.isArray(value)) return value.map(pack)
  const prototype: unknown = Object.getPrototypeOf(value)
  const fields = prototype === Object.prototype || prototype === null ? value : plainMessage(value as Message)
  const packed: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(fields)) packed[name] = pack(field)
  return packed
}

export function unpack(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(unpack)
  const error = (value as Record<string, unknown>)[errorKey]
  if (error !== undefined) return errorOf(error as MeshError)
  for (const [name, field] of Object.entries(value)) {
    if (typeof field === 'object') (value as Record<string, unknown>)[name] = unpack(field)
  }
  return value
}

/** A message that is a view on a batch, field by field. */
const plainMessage = (view: Message): Message => ({
  id: view.id,
  topic: view.topic,
  partition: view.partition,
  offset: view.offset,
  timestampMs: view.timestampMs,
  expiresAtMs: view.expiresAtMs,
  key: view.key,
  headers: view.headers,
  payload: view.payload,
})
