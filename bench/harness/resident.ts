/** Memory of a process, as Linux tells it. */
import { readFile } from 'node:fs/promises'

/** What a process has resident now, or had at most; 0 when it has ended. */
export async function residentMegabytes(pid: number, which: 'VmRSS' | 'VmHWM'): Promise<number> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    return Number(new RegExp(`${which}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}
