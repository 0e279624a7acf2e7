/** Loading of packages that need not be installed. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** Gives a package's exports; undefined when it is missing or has no build for this machine. */
export type LoadPackage = (name: string) => unknown

/** True when a package is installed, without loading it. */
export function isInstalled(name: string): boolean {
  try {
    require.resolve(name)
    return true
  } catch {
    return false
  }
}

export const optionalPackage: LoadPackage = (name) => {
  try {
    return require(name)
  } catch {
    return undefined
  }
}
