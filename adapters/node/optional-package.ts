/** Loading of packages that need not be installed. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** What `require(name)` gives; undefined when the package is missing or has no build for this machine. */
export function optionalPackage<T>(name: string): T | undefined {
  try {
    return require(name) as T
  } catch {
    return undefined
  }
}
