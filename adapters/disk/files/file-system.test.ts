import fc from 'fast-check'
import type { DiskFile } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { writePieces } from './file-system.ts'

/** A file in memory whose calls write as many bytes as they are told to. */
class ShortFile implements Pick<DiskFile, 'write' | 'writev'> {
  readonly bytes: number[] = []
  readonly #counts: readonly number[]
  readonly writev: DiskFile['writev']
  calls = 0

  constructor(counts: readonly number[], gathers: boolean) {
    this.#counts = counts
    if (gathers) this.writev = (pieces, position) => this.write(Buffer.concat(pieces), position)
  }

  async write(bytes: Uint8Array, position: number): Promise<number> {
    const count = Math.min(bytes.length, this.#counts[this.calls++] ?? bytes.length)
    for (let i = 0; i < count; i++) this.bytes[position + i] = bytes[i]
    return count
  }
}

const piecesArbitrary = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 6 })

it('writes every byte of every piece at its place, however short the calls fall', () =>
  fc.assert(
    fc.asyncProperty(
      piecesArbitrary,
      fc.array(fc.integer({ min: 1, max: 25 })),
      fc.boolean(),
      async (pieces, counts, gathers) => {
        const file = new ShortFile(counts, gathers)
        await writePieces(file as unknown as DiskFile, pieces, 0)
        expect(file.bytes).toEqual(pieces.flatMap((piece) => [...piece]))
      },
    ),
  ))

it('takes one call for all pieces, where the file can gather them', async () => {
  const pieces = [Uint8Array.of(1), Uint8Array.of(2, 3), Uint8Array.of(4)]
  const gathering = new ShortFile([], true)
  await writePieces(gathering as unknown as DiskFile, pieces, 0)
  const plain = new ShortFile([], false)
  await writePieces(plain as unknown as DiskFile, pieces, 0)
  expect([gathering.calls, plain.calls]).toEqual([1, 3])
})

it('is an error when the system writes nothing', async () => {
  const file = new ShortFile([1, 0], true) as unknown as DiskFile
  await expect(writePieces(file, [new Uint8Array(3), new Uint8Array(3)], 0)).rejects.toMatchObject({
    code: 'EIO',
  })
})
