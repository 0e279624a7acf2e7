/** The WebSocket transport. */
export { type WebSocketTransportOptions, webSocketTransport } from './transport.ts'
