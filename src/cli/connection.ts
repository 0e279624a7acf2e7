/** Options that every command that talks to a broker takes, and the client that they make. */
import type { Client } from '../client/client.ts'
import { type Credentials, isRatatoskrError, RatatoskrError } from '../ports/index.ts'
import { type OutputFormat, outputFormats } from './output.ts'

export interface ConnectionOptions {
  readonly url: string
  readonly token?: string
  readonly timeout: string
  readonly output: OutputFormat
}

export const defaultUrl = 'grpc://127.0.0.1:50051'

/** Connects. Whoever asks for the client closes it. @throws RTK_INVALID_ARGUMENT, and what `connect` throws */
export async function openClient(options: ConnectionOptions): Promise<Client> {
  if (!outputFormats.includes(options.output)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `-o takes ${outputFormats.join(', ')}, got ${JSON.stringify(options.output)}`,
    )
  }
  const timeoutMs = wholeNumber('--timeout', options.timeout, 1)
  const { connect } = await import('../client/index.ts')
  return connect(options.url, {
    credentials: credentialsOf(options.token),
    timeoutMs,
    reconnect: false,
  })
}

/** Connects, runs `work` and closes, whatever happens. */
export async function withClient<T>(
  options: ConnectionOptions,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await openClient(options)
  try {
    return await work(client)
  } catch (error) {
    // A client that does not reconnect is closed when its connection is lost: what closed it is what happened.
    if (isRatatoskrError(error, 'RTK_CLOSED') && isRatatoskrError(error.cause)) throw error.cause
    throw error
  } finally {
    await client.close()
  }
}

/** What a token of the command line is to a broker. */
export const credentialsOf = (token: string | undefined): Credentials =>
  token === undefined ? { kind: 'none' } : { kind: 'bearer', token }

/** Reads a number of the command line. @throws RTK_INVALID_ARGUMENT that names the option */
export function wholeNumber(option: string, text: string, min: number): number {
  const value = /^(?:\d|-[1-9])\d{0,14}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min))
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `${option} takes a whole number of at least ${min}, got ${JSON.stringify(text)}`,
    )
  return value
}

/** Reads `name=value`. @throws RTK_INVALID_ARGUMENT */
export function pair(option: string, text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1)
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `${option} takes name=value, got ${JSON.stringify(text)}`,
    )
  return [text.slice(0, at), text.slice(at + 1)]
}
