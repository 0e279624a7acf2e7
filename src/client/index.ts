/** `ratatoskr/client` on Node: `connect('grpc://…' | 'ws://…' | 'http://…')`. */
export * from './api.ts'
export { connect } from './connect.ts'
