/** CRC-32C: native where the optional package `@node-rs/crc32` has a build for this machine, portable elsewhere. */
import { type Checksum, portableCrc32c } from 'ratatoskr/ports'
import { type LoadPackage, optionalPackage } from './optional-package.ts'

/** What is used of the package `@node-rs/crc32`. */
interface NativeChecksum {
  crc32c(bytes: Uint8Array): number
}

/** The faster of the two that this process has. Both give equal output. */
export function nodeChecksum(load: LoadPackage = optionalPackage): Checksum {
  const native = load('@node-rs/crc32') as NativeChecksum | undefined
  return native === undefined ? portableCrc32c : (bytes) => native.crc32c(bytes)
}
