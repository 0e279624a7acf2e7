/** What commands print: data on stdout, everything else on stderr. */
import type { Writable } from 'node:stream'

export type OutputFormat = 'table' | 'json' | 'ndjson'
export const outputFormats: readonly OutputFormat[] = ['table', 'json', 'ndjson']

/** Prints rows: a table for people, one JSON document, or a JSON line each. */
export async function printRows(
  rows: readonly object[],
  columns: readonly string[],
  format: OutputFormat,
  out: Writable = process.stdout,
): Promise<void> {
  if (format === 'json') return write(out, `${JSON.stringify(rows, null, 2)}\n`)
  if (format === 'ndjson') return write(out, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
  return write(out, tableText(rows, columns))
}

/** Rows as a table for people: a line of headings, and a line each. */
export function tableText(rows: readonly object[], columns: readonly string[]): string {
  const cells = rows.map((row) => columns.map((column) => cellText((row as Record<string, unknown>)[column])))
  const widths = columns.map((column, i) => Math.max(column.length, ...cells.map((row) => row[i].length)))
  const line = (row: readonly string[]) =>
    `${row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd()}\n`
  return [columns.map((column) => column.toUpperCase()), ...cells].map(line).join('')
}

/** Prints one thing: its fields below each other, or as JSON. */
export async function printRecord(
  record: object,
  format: OutputFormat,
  out: Writable = process.stdout,
): Promise<void> {
  if (format !== 'table')
    return write(out, `${format === 'json' ? JSON.stringify(record, null, 2) : JSON.stringify(record)}\n`)
  const entries = Object.entries(record)
  const width = Math.max(...entries.map(([name]) => name.length))
  return write(out, entries.map(([name, value]) => `${name.padEnd(width)}  ${cellText(value)}\n`).join(''))
}

/** Writes and waits while the reader is slower than we are. */
export function write(out: Writable, data: string | Uint8Array): Promise<void> {
  if (out.write(data)) return Promise.resolve()
  return new Promise((resolve) => out.once('drain', resolve))
}

// Names and payloads of others are printed on a terminal: control characters could rewrite what stands above them.
function cellText(value: unknown): string {
  if (value === undefined || value === null) return '-'
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return text.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/** One line on stderr that tells how far a long work is; silent when stderr is no terminal, but for the last line. */
export class Progress {
  readonly #what: string
  readonly #out: Writable & { isTTY?: boolean }
  #shownAtMs = Number.NEGATIVE_INFINITY

  constructor(what: string, out: Writable & { isTTY?: boolean } = process.stderr) {
    this.#what = what
    this.#out = out
  }

  update(done: string): void {
    const now = performance.now()
    if (this.#out.isTTY !== true || now - this.#shownAtMs < 200) return
    this.#shownAtMs = now
    this.#out.write(`\r\u001b[K${this.#what}: ${done}`)
  }

  finish(done: string): void {
    this.#out.write(`${this.#out.isTTY === true ? '\r\u001b[K' : ''}${this.#what}: ${done}\n`)
  }
}
