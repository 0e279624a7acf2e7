/** Streams of frames over HTTP: one response whose body goes on, of events in JSON and of batches. */
import { parseJson, RatatoskrError } from '../../ports/index.ts'
import { FrameReader } from './frame-reader.ts'
import { type HttpCalls, jsonDepthMax } from './http-calls.ts'

export const frameContentType = 'application/vnd.ratatoskr.frames'
const jsonStart = 0x7b // a frame that begins with `{` is an event

/** A stream that the broker has accepted. */
export interface OpenFrames<Event> {
  readonly reader: FrameReader
  readonly accepted: Event
  /** Ends the stream from this side. */
  readonly abort: AbortController
}

/**
 * Opens a stream and resolves when the broker has accepted it.
 * @param body of a POST, as JSON; without one it is a GET
 * @throws RTK_FRAME_MALFORMED when the stream does not begin as agreed, and what the broker answers
 */
export async function openFrames<Event extends { readonly event: string }>(
  http: HttpCalls,
  path: string,
  body?: unknown,
): Promise<OpenFrames<Event>> {
  const abort = new AbortController()
  const accept = { accept: frameContentType }
  const request =
    body === undefined
      ? { headers: accept }
      : { body: JSON.stringify(body), headers: { ...accept, 'content-type': 'application/json' } }
  const response = await http.send(body === undefined ? 'GET' : 'POST', path, {
    ...request,
    signal: abort.signal,
  })
  const reader = new FrameReader(response.body as ReadableStream<Uint8Array>, http.frameBytesMax)
  try {
    const first = await nextFrame(http, reader, abort.signal)
    const accepted = first === undefined ? undefined : eventOf<Event>(first)
    if (accepted?.event !== 'subscribed') {
      throw new RatatoskrError('RTK_FRAME_MALFORMED', 'the broker did not begin the stream as agreed')
    }
    return { reader, accepted, abort }
  } catch (error) {
    abort.abort()
    throw error
  }
}

/** The next frame. @throws RTK_FRAME_MALFORMED when it is no frame, else what a broken connection means */
export async function nextFrame(
  http: HttpCalls,
  reader: FrameReader,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  try {
    return await reader.next()
  } catch (error) {
    throw error instanceof RatatoskrError ? error : http.lost(error, signal)
  }
}

/** The event that a frame is; undefined when it is one of batches. Which events a stream has is agreed with the broker. */
export const eventOf = <Event>(frame: Uint8Array): Event | undefined =>
  frame[0] === jsonStart ? (parseJson(frame, { depthMax: jsonDepthMax }) as Event) : undefined
