/** The TCP transport, which listens on Unix sockets as well. */
export { type TcpTransportOptions, tcpTransport } from './transport.ts'
