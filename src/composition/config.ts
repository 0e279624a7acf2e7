/** The configuration of the server, as files hold it. `ratatoskr config print` shows each value and where it came from. */
import type { Limits, Plugin, TopicConfig } from '../ports/index.ts'

/** Where a transport listens. */
export interface ListenConfig {
  readonly enabled?: boolean
  readonly host?: string
  /** 0 takes any free port. */
  readonly port?: number
  /** Listens beyond loopback although no authentication is configured. */
  readonly insecure?: boolean
}

/** A bearer token and what its holder may do. */
export interface TokenConfig {
  /** Name of the principal. */
  readonly name: string
  /** The secret itself, or `tokenFile`: a file that holds it. */
  readonly token?: string
  readonly tokenFile?: string
  readonly namespace?: string
  readonly allow: readonly { readonly actions: readonly string[]; readonly topics?: string }[]
}

/** The keys of a configuration; each may be left out. The command line checks them against its schema. */
export interface RatatoskrConfig {
  readonly storage?: {
    readonly kind?: 'disk' | 'memory'
    /** Disk: the data directory. */
    readonly directory?: string
    /** Memory: bytes that all topics together may take. */
    readonly bytesMax?: number
  }
  readonly grpc?: ListenConfig
  readonly http?: ListenConfig
  readonly websocket?: ListenConfig & { readonly allowedOrigins?: readonly string[] }
  readonly tcp?: ListenConfig
  /** Listens on a Unix socket of this path as well. */
  readonly unix?: { readonly path?: string }
  readonly topics?: {
    /** Publishing to or subscribing from a topic that does not exist creates it. */
    readonly autoCreate?: boolean
    /** What topics are created with unless their creator says otherwise. */
    readonly defaults?: Partial<TopicConfig>
  }
  readonly limits?: Partial<Limits>
  /** Walk the records of each batch that producers made, beside its CRC. */
  readonly verifyRecords?: boolean
  readonly auth?: { readonly tokens?: readonly TokenConfig[] }
  readonly audit?: { readonly enabled?: boolean; readonly file?: string; readonly publishes?: boolean }
  readonly metrics?: { readonly enabled?: boolean }
  readonly shutdown?: {
    /** How long readiness fails before connections are closed, so that load balancers notice. 500 ms by default. */
    readonly drainMs?: number
  }
  readonly log?: { readonly level?: 'debug' | 'info' | 'warn' | 'error' }
  /** Event loops that share the work of the broker, 1 to 64; see the README. */
  readonly workers?: number
  /** Plugins of your own; only in a configuration file that is code. */
  readonly plugins?: readonly Plugin[]
}

/** Gives editors the types of a `ratatoskr.config.ts`. Returns what it got. */
export const defineConfig = (config: RatatoskrConfig): RatatoskrConfig => config
