/** How `ratatoskr top` looks: text of a report, and the terminal that it is drawn on again and again. */
import type { ReadStream, WriteStream } from 'node:tty'
import { tableText } from '../output.ts'
import type { BrokerRow, TopReport } from './report.ts'

const topicColumns = ['topic', 'partitions', 'messages', 'bytes', 'in/s', 'out/s', 'lag', 'groups']
const groupColumns = ['topic', 'group', 'kind', 'state', 'members', 'lag', 'inFlight', 'out/s']

/** A report as people read it. */
export function textOf({ broker, topics, groups }: TopReport): string {
  const topicRows = topics.map(({ inPerSecond, outPerSecond, lagMax, bytes, ...topic }) => ({
    ...topic,
    bytes: sizeText(bytes),
    'in/s': inPerSecond,
    'out/s': outPerSecond,
    lag: lagMax,
  }))
  const groupRows = groups.map(({ outPerSecond, ...group }) => ({ ...group, 'out/s': outPerSecond }))
  const tables = [tableText(topicRows, topicColumns)]
  if (groupRows.length > 0) tables.push(tableText(groupRows, groupColumns))
  return [headOf(broker), ...tables].join('\n')
}

function headOf(broker: BrokerRow): string {
  const { connections, subscriptions, topics, partitions, loopDelayMs } = broker
  const known = (value: number | undefined, text: (value: number) => string): string =>
    value === undefined ? '-' : text(value)
  return [
    `up ${timeText(broker.uptimeMs)}   connections ${connections}   subscriptions ${subscriptions}   topics ${topics}   partitions ${partitions}`,
    `in ${broker.inPerSecond}/s, ${sizeText(broker.inBytesPerSecond)}/s   out ${broker.outPerSecond}/s, ${sizeText(broker.outBytesPerSecond)}/s`,
    `cpu ${known(broker.cpuPercent, (percent) => `${percent} %`)}   loop delay ${known(loopDelayMs, (ms) => `${ms} ms`)}   resident ${known(broker.residentBytes, sizeText)}   heap ${known(broker.heapBytes, sizeText)}   buffers ${known(broker.bufferBytes, sizeText)}`,
    '',
  ].join('\n')
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

function sizeText(bytes: number): string {
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  const amount = bytes / 1024 ** power
  return `${power === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[power]}`
}

function timeText(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3_600) % 24, (seconds / 60) % 60].map(
    Math.floor,
  )
  if (days > 0) return `${days}d ${hours}h`
  if (hours > 0) return `${hours}h ${minutes}m`
  return minutes > 0 ? `${minutes}m ${seconds % 60}s` : `${seconds}s`
}

/** The part of a terminal's input that is used here. */
export type Keys = Pick<ReadStream, 'on' | 'off' | 'pause' | 'resume'> & {
  readonly isTTY?: boolean | undefined
  setRawMode?(raw: boolean): unknown
}

const csi = '\u001b['
const interrupt = '\u0003'

/** A terminal that shows one text after the other in the same place, and is as it was before when it is left. */
export class Screen {
  readonly #out: Pick<WriteStream, 'write' | 'rows' | 'columns'>
  readonly #keys: Keys
  readonly #quit: () => void

  /** @param quit called when somebody presses q or Ctrl-C */
  constructor(out: Pick<WriteStream, 'write' | 'rows' | 'columns'>, keys: Keys, quit: () => void) {
    this.#out = out
    this.#keys = keys
    this.#quit = quit
  }

  /** The other screen of the terminal, without a cursor. Keys come one by one, and are not shown. */
  enter(): void {
    this.#out.write(`${csi}?1049h${csi}?25l`)
    if (this.#keys.isTTY !== true) return
    this.#keys.setRawMode?.(true)
    this.#keys.on('data', this.#pressed)
    this.#keys.resume()
  }

  /** Shows a text, cut to the size of the terminal. */
  show(text: string): void {
    // A terminal without a size says 0.
    const [rows, columns] = [this.#out.rows || 24, this.#out.columns || 80]
    const lines = text.split('\n').slice(0, rows - 1)
    const shown = lines.map((line) => `${styled(line.slice(0, columns))}${csi}K`)
    this.#out.write(`${csi}H${shown.join('\r\n')}${csi}J`)
  }

  leave(): void {
    if (this.#keys.isTTY === true) {
      this.#keys.off('data', this.#pressed)
      this.#keys.setRawMode?.(false)
      this.#keys.pause()
    }
    this.#out.write(`${csi}?25h${csi}?1049l`)
  }

  readonly #pressed = (data: Buffer | string): void => {
    const keys = String(data)
    if (keys.includes('q') || keys.includes('Q') || keys.includes(interrupt)) this.#quit()
  }
}

/** Headings of tables stand out, unless the reader wants no colours. */
const styled = (line: string): string =>
  /^TOPIC /.test(line) && (process.env.NO_COLOR ?? '') === '' ? `${csi}7m${line}${csi}0m` : line
