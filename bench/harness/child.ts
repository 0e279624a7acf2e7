/**
 * The child's side of a benchmark process: it answers its parent's requests, says what it used, and ends with it.
 * Requests and replies travel over Node's own channel between parent and child, never over what is measured.
 */
import { getHeapStatistics } from 'node:v8'
import { residentMegabytes } from './resident.ts'

/** What a request is answered with. Arguments and results are plain data. */
export type Handlers = Readonly<Record<string, (argument: never) => unknown>>

export interface RequestMessage {
  readonly id: number
  readonly op: string
  readonly argument: unknown
}

export interface ReplyMessage {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** Something that a role says unasked. */
export interface NoticeMessage {
  readonly notice: string
  readonly value: number
}

/** What the process used since `windowBegin`. */
export interface Usage {
  readonly cpuSeconds: number
  /** The most that was resident so far. */
  readonly rssMegabytes: number
  /** What was allocated on V8's heap, collected since or not; what has no such heap says nothing. */
  readonly allocatedBytes?: number
}

let cpuAtBegin = process.cpuUsage()
let allocatedAtBegin = 0
const allocated = (): number => getHeapStatistics().total_allocated_bytes

const common: Handlers = {
  windowBegin: () => {
    cpuAtBegin = process.cpuUsage()
    allocatedAtBegin = allocated()
  },
  windowEnd: async (): Promise<Usage> => {
    const { user, system } = process.cpuUsage(cpuAtBegin)
    const allocatedBytes = allocated() - allocatedAtBegin
    return { cpuSeconds: (user + system) / 1e6, rssMegabytes: await residentAtMost(), allocatedBytes }
  },
}

/** `maxRSS` of a process begins with that of the one which started it; Linux knows better. */
async function residentAtMost(): Promise<number> {
  return (await residentMegabytes(process.pid, 'VmHWM')) || process.resourceUsage().maxRSS / 1024
}

/** Serves the parent's requests until it goes away. A role's own handler of a common request runs after that. */
export function serveRole(handlers: Handlers): void {
  process.on('message', ({ id, op, argument }: RequestMessage) => {
    void answer(handlers, op, argument).then(
      (result) => tell({ id, result }),
      (error) => tell({ id, error: String(error?.stack ?? error) }),
    )
  })
  process.on('disconnect', () => process.exit())
}

export function notifyParent(notice: string, value: number): void {
  tell({ notice, value })
}

/** What the parent does not hear because it has gone need not be said: its going ends this process. */
function tell(message: ReplyMessage | NoticeMessage): void {
  process.send?.(message, undefined, undefined, () => {})
}

async function answer(handlers: Handlers, op: string, argument: unknown): Promise<unknown> {
  const shared = common[op]?.(argument as never)
  const own = await handlers[op]?.(argument as never)
  return own ?? shared
}
