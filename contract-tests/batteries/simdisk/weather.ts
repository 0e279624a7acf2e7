/** What happens to the disk in a random life: it fails in many ways, is full, and is well again. */
import type { DiskFault, SimulatedDisk } from 'ratatoskr/contract-tests'
import type { Dice } from './dice.ts'

const faultsAtHand: readonly DiskFault[] = [
  { call: 'sync', code: 'EIO' },
  { call: 'sync', code: 'ENOSPC' },
  { call: 'write', code: 'EIO' },
  { call: 'write', code: 'ENOSPC' },
  { call: 'write', effect: 'short' },
  { call: 'open', code: 'EMFILE' },
  { call: 'open', code: 'ENOSPC' },
  { call: 'open', code: 'EIO' },
  { call: 'syncDirectory', code: 'EIO' },
  { call: 'rename', code: 'EIO' },
  { call: 'remove', code: 'EROFS' },
  { call: 'truncate', code: 'EIO' },
  { call: 'read', code: 'EIO' },
  { call: 'close', code: 'EIO' },
]

/** How rough a seed's life is. */
export type WeatherKind = 'calm' | 'full' | 'failing'

export class Weather {
  readonly kind: WeatherKind
  /**
   * True once a sync may have failed and dropped what it did not write: what a killed process leaves in the cache then looks
   * whole, and a later sync of it reports success without writing. A store in a new process cannot tell.
   */
  cacheMayLie = false
  /** Files may not be to be made at the moment. */
  filesMayFail = false
  readonly #disk: SimulatedDisk
  readonly #dice: Dice
  readonly #say: (line: string) => void

  constructor(kind: WeatherKind, disk: SimulatedDisk, dice: Dice, say: (line: string) => void) {
    this.kind = kind
    this.#disk = disk
    this.#dice = dice
    this.#say = say
  }

  /** Makes the disk better or worse. @returns whether there is a new fault */
  stir(): 'fault' | 'none' {
    if (this.#dice.chance(0.4)) this.clear()
    if (!this.#dice.chance(0.4)) return 'none'
    const full = this.kind === 'full'
    if (full && this.#dice.chance(0.7)) {
      const room = this.#dice.between(0, 700)
      this.#disk.capacityBytes = this.#disk.usedBytes + room
      this.filesMayFail = true
      this.#say(`room for ${room} bytes`)
      return 'none'
    }
    const fault = this.#dice.pick(
      faultsAtHand.filter(({ code, effect }) => (full ? code === 'ENOSPC' || effect !== undefined : true)),
    )
    const nth = this.#dice.between(1, 4)
    this.#disk.inject({ ...fault, nth, times: 1 })
    if (fault.call === 'sync') this.cacheMayLie = true
    if (fault.call === 'open') this.filesMayFail = true
    this.#say(`${String(fault.call)} number ${nth} from here: ${fault.code ?? fault.effect}`)
    return 'fault'
  }

  clear(): void {
    this.#disk.heal()
    this.#disk.capacityBytes = Number.POSITIVE_INFINITY
    this.filesMayFail = false
    this.#say('the disk is well')
  }
}
