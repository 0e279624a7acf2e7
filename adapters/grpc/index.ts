/** `ratatoskr/adapters/grpc`: the broker over gRPC. */
export { type GrpcTransportOptions, grpcTransport } from './transport.ts'
