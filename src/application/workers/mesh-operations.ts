/** What workers ask of each other. The table is the protocol: one that serves or calls what is not in it does not compile. */
import type { Durability } from '../../domain/durability.ts'
import type { TopicRef } from '../../domain/names.ts'
import type { OffsetRange } from '../../domain/topic.ts'
import type { BrokerStats, Health, Principal } from '../../ports/index.ts'
import type { StoredBatch } from '../partitions/topic-partition.ts'
import type { TopicRecord } from '../topics/topic-record.ts'
import type { MeshError } from './mesh-errors.ts'

/** Which partition. */
export interface PartitionAddress {
  readonly topicId: string
  readonly partition: number
}

/** A topic as the controller tells of it. */
export interface TopicNews {
  readonly ref: TopicRef
  readonly record: TopicRecord
  /** Where each partition stands; see offset-cells.ts. */
  readonly cells: readonly SharedArrayBuffer[]
}

/** Counts that a worker tells the controller. */
export interface WorkerCounts {
  readonly stats: BrokerStats
  /** Subscriptions of each topic that has any. */
  readonly subscribers: readonly (readonly [topicId: string, subscriptions: number])[]
  /** Messages that were given out here of each topic that has any. */
  readonly delivered: readonly (readonly [topicId: string, messages: number])[]
  readonly components: Health['components']
  /** Its partitions that have lost records. */
  readonly damaged: readonly (PartitionAddress & { readonly ranges: readonly OffsetRange[] })[]
}

/** What the owner of a partition does for who is not. */
export interface PartitionOperations {
  /** From now on, on this link, `handle` stands for the partition. */
  nameHandle: { takes: PartitionAddress & { readonly handle: number }; gives: undefined }
  /** Bytes: the batch; for a batch that is cut, the batch it is the rest of follows from `originalAt` on. */
  append: {
    takes: PartitionAddress & {
      readonly recordCount: number
      readonly durability: Durability
      readonly originalAt: number | undefined
      /** Only answered when the batch is stored already; RTK_LEASE_LOST otherwise. */
      readonly onlyKnown: boolean
    }
    gives: number | StoredBatch
  }
  /** Bytes: the batch. */
  passOver: {
    takes: PartitionAddress & { readonly baseOffset: number; readonly durability: Durability }
    gives: undefined
  }
  read: { takes: PartitionAddress & { readonly offset: number; readonly bytesMax: number }; gives: undefined }
  offsetForTime: { takes: PartitionAddress & { readonly timestampMs: number }; gives: number }
  batchOffsetForTime: { takes: PartitionAddress & { readonly timestampMs: number }; gives: number }
  truncateBefore: { takes: PartitionAddress & { readonly offset: number }; gives: number }
  /** Asks to be told once when the partition stands elsewhere than the caller has seen. */
  watch: {
    takes: PartitionAddress & { readonly stableOffset: number; readonly state: string }
    gives: undefined
  }
  /** The answer to `watch`. */
  changed: { takes: PartitionAddress & { readonly damaged: readonly OffsetRange[] }; gives: undefined }
}

/** What the controller asks of a worker. */
export interface WorkerOperations {
  openPartition: {
    takes: TopicNews & { readonly partition: number; readonly supervised: boolean }
    /** What of it is lost to damage. */
    gives: readonly OffsetRange[]
  }
  closePartition: {
    takes: PartitionAddress & { readonly reason: MeshError; readonly deleted: boolean }
    gives: undefined
  }
  deleteLog: { takes: PartitionAddress; gives: undefined }
  reconfigure: { takes: PartitionAddress; gives: undefined }
  /** The topic may be used from now on, or is another one than before. */
  showTopic: { takes: TopicNews; gives: undefined }
  hideTopic: { takes: { readonly topicId: string }; gives: undefined }
  /** Removes empty logs that belong to no topic that was told of. */
  sweep: { takes: undefined; gives: undefined }
  /** Opens the transports; the ports of the controller, in order, and the id of this run of the broker. */
  serve: { takes: { readonly ports: readonly number[]; readonly broker: string }; gives: undefined }
  /** Closes the transports and sessions. */
  stopServing: { takes: { readonly deadlineMs: number }; gives: undefined }
  /** A sign of life, and how the broker is, for health endpoints. */
  heartbeat: { takes: { readonly health: Health }; gives: undefined }
}

/** What a worker asks of the controller. */
export interface ControllerOperations {
  logOpened: {
    takes: PartitionAddress & { readonly text: string; readonly endOffset: number }
    gives: undefined
  }
  /** Creates a topic that is published or subscribed to, when it is not there. */
  ensureTopic: { takes: { readonly ref: TopicRef; readonly principal: Principal }; gives: undefined }
  counts: { takes: WorkerCounts; gives: undefined }
  openSession: { takes: { readonly session: string; readonly principal: Principal }; gives: undefined }
  closeSession: { takes: { readonly session: string }; gives: undefined }
  /** Calls a method of the session. */
  session: {
    takes: {
      readonly session: string
      readonly method: string
      readonly args: readonly unknown[]
      /** Place of the argument that takes the signal; undefined without one. */
      readonly signalAt: number | undefined
      /** Under what name the sink is known, when the last argument is one, and what it can be told. */
      readonly sink: { readonly key: string; readonly methods: readonly string[] } | undefined
    }
    gives: unknown
  }
  /** Calls a method of a subscription that was made by `session`. */
  subscription: {
    takes: { readonly key: string; readonly method: string; readonly args: readonly unknown[] }
    gives: unknown
  }
}

/** What the controller tells the sinks of a worker's sessions. */
interface SinkOperations {
  sink: {
    takes: { readonly key: string; readonly method: string; readonly args: readonly unknown[] }
    gives: undefined
  }
}

export interface MeshOperations
  extends PartitionOperations,
    WorkerOperations,
    ControllerOperations,
    SinkOperations {}
