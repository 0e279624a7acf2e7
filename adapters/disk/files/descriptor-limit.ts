/** How many files the pool may hold open without taking the descriptors that the rest of the process needs. */
import { readFileSync } from 'node:fs'

/** For the runtime itself, what is kept in reserve, indexes, the state and a few sockets, before the rest is shared. */
const othersMin = 48
const poolMin = 4
const atOnceMin = 2

/** The files that the pool may hold, of `wanted`, when the process may open `limit` descriptors: at most half of what is left. */
export const affordableFiles = (wanted: number, limit: number): number =>
  Math.max(poolMin, Math.min(wanted, Math.floor((limit - othersMin) / 2)))

/** The same of those that are only opened for a moment, of each kind: directories to sync, indexes, logs to recover. */
export const affordableAtOnce = (wanted: number, limit: number): number =>
  Math.max(atOnceMin, Math.min(wanted, Math.floor(limit / 16)))

/** How many descriptors this process may open; infinity where the system does not say. @param limits what it says */
export function descriptorLimit(limits = systemLimits()): number {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}

function systemLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return '' // no Linux
  }
}
