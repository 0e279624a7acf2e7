/**
 * Has V8 wait with its optimizing compilers while `serve` starts. What is hot while modules load is not what a broker does later,
 * and a compiler that has run once stays in memory with all of its pages: some 10 MB of an idle server.
 */
import { setFlagsFromString } from 'node:v8'

/** From here on nothing is optimized, in the whole process. Call it before anything is. */
export const optimizeLater = (): void => setFlags('--no-opt', '--no-maglev')

/** What is hot is optimized, as ever. */
export const optimizeFromNowOn = (): void => setFlags('--opt', '--maglev')

/** Only where it was tried: another generation of V8 may not know a flag, and would say so on standard error. */
function setFlags(...flags: string[]): void {
  if (process.versions.v8.startsWith('14.')) for (const flag of flags) setFlagsFromString(flag)
}
