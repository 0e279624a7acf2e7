/** What the main thread and a worker say to each other beside the mesh. */
import type { MessagePort } from 'node:worker_threads'
import type { CompleteConfig } from '../config/schema.ts'

/** What a worker is started with. */
export interface WorkerStart {
  readonly index: number
  readonly count: number
  /** Without plugins of the user's own: functions cannot be handed to a thread. */
  readonly config: Omit<CompleteConfig, 'plugins'>
  /** There are such plugins: they are made anew. */
  readonly ownPlugins: boolean
  /** The configuration file, when one was named. */
  readonly configFile: string | undefined
  /** To the controller. */
  readonly port: MessagePort
}

/** To a worker. */
export type WorkerOrder =
  | { readonly kind: 'connect'; readonly index: number; readonly port: MessagePort }
  | { readonly kind: 'stop' }

/** From a worker: it has started, or why it could not. */
export type WorkerReport =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string }
