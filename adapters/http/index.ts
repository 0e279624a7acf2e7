/** `ratatoskr/adapters/http`: topics, publishing, fetching, groups and server-sent events over HTTP/1.1. */
export { type HttpTransportOptions, httpTransport } from './http-transport.ts'
