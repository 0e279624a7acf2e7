import { connect as connectSocket } from 'node:net'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type LinkProbeOptions, probeOfLink, transportContract } from 'ratatoskr/contract-tests'
import {
  type BoundAddress,
  errorFromJson,
  type LeaseProof,
  type OutgoingMessage,
  type PublishReceipt,
  type PublishResult,
} from 'ratatoskr/ports'
import { openHttpLink } from '../../src/client/links/http.ts'
import { httpTransport } from './index.ts'

const platform = nodePlatform({ logger: silentLogger })

/** Publishes by the JSON route, which a link does without. */
function jsonPublishing(url: string, token: string | undefined): NonNullable<LinkProbeOptions['messages']> {
  const post = async (
    topic: string,
    body: object,
    lease: LeaseProof | undefined,
    query = '',
  ): Promise<Record<string, unknown>> => {
    const response = await fetch(`${url}/v1/topics/${encodeURIComponent(topic)}/messages${query}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(lease !== undefined && { 'ratatoskr-lease': JSON.stringify(lease) }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
    })
    const answer = (await response.json()) as Record<string, unknown>
    if (!response.ok)
      throw errorFromJson({ code: answer.code, message: answer.detail, details: answer.details })
    return answer
  }
  return {
    async publish(topic, message, durability, lease) {
      const query = durability === undefined ? '' : `?durability=${durability}`
      return (await post(topic, toJson(message), lease, query)) as unknown as PublishReceipt
    },
    async publishMany(topic, messages, lease) {
      const { results } = (await post(topic, { messages: messages.map(toJson) }, lease)) as {
        results: (PublishReceipt | { error: unknown })[]
      }
      return results.map(
        (result): PublishResult => ('error' in result ? { error: errorFromJson(result.error) } : result),
      )
    },
  }
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

function toJson({ payload, key, headers, timestampMs, ...rest }: OutgoingMessage): object {
  const entries = (headers ?? []).map(([name, value]) => [name, { base64: base64(value) }] as const)
  return {
    ...rest,
    payload: base64(payload),
    ...(key !== undefined && { key: { base64: base64(key) } }),
    ...(headers !== undefined && { headers: Object.fromEntries(entries) }),
    ...(timestampMs !== undefined && { timestamp: timestampMs }),
  }
}

/** Sends raw bytes and waits for an answer or the end of the connection. */
const send = ({ host, port }: BoundAddress, bytes: string | Uint8Array): Promise<void> =>
  new Promise((resolve) => {
    const socket = connectSocket({ host, port }, () => socket.end(bytes))
    socket
      .on('error', () => resolve())
      .on('close', () => resolve())
      .resume()
  })

transportContract('http', async () => ({
  make: (options) => httpTransport(options),
  async connect(address, token) {
    const credentials =
      token === undefined ? ({ kind: 'none' } as const) : ({ kind: 'bearer', token } as const)
    const link = await openHttpLink(new URL(address.url), {
      credentials,
      platform,
      frameBytesMax: 64 * 1024 * 1024,
    })
    return probeOfLink({ link, platform, messages: jsonPublishing(address.url, token) })
  },
  async sendGarbage(address) {
    const head = 'POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\n'
    const frames = [
      'garbage\r\n\r\n',
      '\u0000\u0001\u0002\u0003',
      `${head}content-length: 10\r\ncontent-length: 11\r\n\r\n`,
      `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `${head}host: other\r\ncontent-length: 0\r\n\r\n`,
      `${head}content-type: application/json\r\ncontent-length: 8\r\n\r\n{"messag`,
      `${head}content-type: application/json\r\ncontent-length: 200000\r\n\r\n${'['.repeat(200_000)}`,
      `${head}content-length: 99999999999\r\n\r\nx`,
      `GET /v1/topics/${'x'.repeat(30_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
      `GET /v1/topics HTTP/1.1\r\nhost: localhost\r\n${'a: b\r\n'.repeat(500)}\r\n`,
    ]
    for (const frame of frames) await send(address, frame)
  },
}))
