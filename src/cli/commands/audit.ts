/** `ratatoskr audit verify`. */
import { exitCodes } from '../exit-codes.ts'

export async function verifyAudit(file: string): Promise<void> {
  const { verifyAuditLog } = await import('ratatoskr/plugins/audit')
  const result = await verifyAuditLog(file)
  if (result.valid) {
    process.stderr.write(`${result.lines} lines, the hash chain is whole\n`)
    return
  }
  process.stderr.write(`ratatoskr: line ${result.brokenLine}: ${result.reason}\n`)
  process.exitCode = exitCodes.failure
}
