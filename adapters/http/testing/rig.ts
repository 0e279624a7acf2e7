/** A broker in memory with this transport on a free port, for tests; everything it opened ends with the test. */
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { BrokerOptions, EmbeddedBroker } from 'ratatoskr'
import type { BoundAddress, JsonMessage, Limits, Platform, Transport } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { onTestFinished } from 'vitest'
import { type HttpTransportOptions, httpTransport } from '../index.ts'
import { EventReader } from './event-reader.ts'

export interface RigOptions {
  readonly transport?: HttpTransportOptions
  readonly limits?: Partial<Limits>
  readonly platform?: Partial<Platform>
  readonly broker?: Partial<BrokerOptions>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON. */
  readonly json: Readonly<Record<string, unknown>>
}

export interface Rig {
  readonly broker: EmbeddedBroker
  readonly transport: Transport
  readonly address: BoundAddress
  readonly url: string
  /** Sends a request; a body that is not text or bytes goes as JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  /** Opens server-sent events. */
  events(path: string, headers?: Record<string, string>): Promise<EventReader>
  /** Sends raw bytes on a connection of their own and gives all that comes back until it closes. */
  raw(bytes: string | Uint8Array): Promise<string>
  /** Opens a connection. */
  socket(): Promise<Socket>
}

export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const transport = httpTransport({ port: 0, ...options.transport })
  const { limits = {}, platform = {} } = options
  const broker = await startTestBroker({ transports: [transport], limits, platform, ...options.broker })
  onTestFinished(() => broker.stop())
  const address = transport.address ?? { host: '', port: 0, url: '' }
  const { url } = address
  const socket = async (): Promise<Socket> => {
    const opened = connect({ host: address.host, port: address.port })
    onTestFinished(() => void opened.destroy())
    await new Promise((resolve, reject) => opened.once('connect', resolve).once('error', reject))
    return opened
  }
  return {
    broker,
    transport,
    address,
    url,
    socket,
    call: (method, path, body, headers) => call(url, method, path, body, headers),
    async events(path, headers = {}) {
      const abort = new AbortController()
      onTestFinished(() => abort.abort())
      const response = await fetch(url + path, { headers, signal: abort.signal })
      return new EventReader(response, abort)
    },
    async raw(bytes) {
      const opened = await socket()
      let answer = ''
      opened.setEncoding('latin1').on('data', (text) => {
        answer += text
      })
      opened.on('error', () => undefined).write(bytes)
      await new Promise((resolve) => opened.once('close', resolve))
      return answer
    },
  }
}

async function call(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array
  const response = await fetch(url + path, {
    method,
    headers: raw ? headers : { 'content-type': 'application/json', ...headers },
    body: (raw ? body : JSON.stringify(body)) as RequestInit['body'],
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    get json() {
      return JSON.parse(text)
    },
  }
}

/** The status of a request whose headers `fetch` does not let a program set, such as Host. */
export const statusFor = (address: BoundAddress, headers: Record<string, string>, path = '/livez') =>
  new Promise<number>((resolve, reject) => {
    request({ host: address.host, port: address.port, path, headers, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .on('error', reject)
      .end()
  })

/** The messages of an answer. */
export const messagesIn = ({ json }: Answer): readonly JsonMessage[] =>
  json.messages as readonly JsonMessage[]

export const text = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString()
export const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64')
