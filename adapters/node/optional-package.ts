/** Loading of packages that need not be installed. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** Gives a package's exports; undefined when it is missing or has no build for this machine. */
export type LoadPackage = (name: string) => unknown

export const optionalPackage: LoadPackage = (name) => {
  try {
    return require(name)
  } catch {
    return undefined
  }
}
