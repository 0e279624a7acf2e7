/** CRC-32C: native where the optional package `@node-rs/crc32` has a build for this machine, portable elsewhere. */
import { type Checksum, portableCrc32c } from 'ratatoskr/ports'
import { optionalPackage } from './optional-package.ts'

/** What is used of the package `@node-rs/crc32`. */
export interface NativeChecksum {
  crc32c(bytes: Uint8Array): number
}

/** The faster of the two that this process has. Both give equal output. */
export function nodeChecksum(
  native: NativeChecksum | undefined = optionalPackage<NativeChecksum>('@node-rs/crc32'),
): Checksum {
  return native === undefined ? portableCrc32c : (bytes) => native.crc32c(bytes)
}
