/** `ratatoskr profile`: has a running broker profile itself, and writes what it answers to a file. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { ProfileRequest } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { type ConnectionOptions, credentialsOf, wholeNumber } from '../connection.ts'
import { durationMs } from '../duration.ts'
import { printRecord } from '../output.ts'

interface ProfileOptions extends ConnectionOptions {
  readonly kind: string
  readonly duration: string
  readonly file?: string
}

/** A minute's samples of a large program are some megabytes. */
const profileBytesMax = 256 * 1024 * 1024

export async function profile(options: ProfileOptions): Promise<void> {
  const { kind, output } = options
  const request = { kind, durationMs: durationMs('--duration', options.duration) } as ProfileRequest
  const path = resolve(options.file ?? `broker.${kind === 'heap' ? 'heap' : 'cpu'}profile`)
  const bytes = await taken(options, request)
  try {
    await writeFile(path, bytes)
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', `--file cannot be written (${code}): ${path}`, { cause })
  }
  await printRecord({ file: path, kind, durationMs: request.durationMs, bytes: bytes.length }, output)
}

/** The profile, as the broker gives it. @throws what the broker reports, RTK_TIMEOUT */
async function taken(options: ProfileOptions, request: ProfileRequest): Promise<Uint8Array> {
  const base = httpUrl(options.url)
  const timeoutMs = wholeNumber('--timeout', options.timeout, 1)
  const { HttpCalls } = await import('../../client/links/http-calls.ts')
  const { nodePlatform } = await import('ratatoskr/adapters/node')
  const calls = new HttpCalls(base, {
    credentials: credentialsOf(options.token),
    frameBytesMax: profileBytesMax,
    platform: nodePlatform(),
  })
  const deadline = AbortSignal.timeout(request.durationMs + timeoutMs)
  try {
    const response = await calls.send('POST', '/v1/profile', {
      body: JSON.stringify(request),
      headers: { 'content-type': 'application/json' },
      signal: deadline,
    })
    return await calls.bytes(response, deadline)
  } catch (error) {
    if (!deadline.aborted) throw error
    throw new RatatoskrError('RTK_TIMEOUT', 'the broker did not answer within --duration and --timeout', {
      cause: error,
    })
  } finally {
    await calls.close()
  }
}

/** @throws RTK_INVALID_ARGUMENT when it is no URL, RTK_NOT_SUPPORTED for other protocols */
function httpUrl(text: string): URL {
  const url = URL.parse(text)
  if (url === null) {
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', `--url takes a URL, got ${JSON.stringify(text)}`)
  }
  if (url.protocol === 'http:' || url.protocol === 'https:') return url
  throw new RatatoskrError(
    'RTK_NOT_SUPPORTED',
    `profiles come over HTTP: give --url http://HOST:PORT of the broker's HTTP transport, got ${url.protocol}`,
  )
}
