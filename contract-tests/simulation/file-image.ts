/**
 * The bytes of a simulated file as pages. A page never changes once it is in an image: a write puts a new one in its place,
 * so that copies of an image, and the versions that a power cut may leave, share what is equal.
 */

/** A page may be shorter than a whole one, and missing: what is not there is zero. */
export type Page = Uint8Array | undefined

export class FileImage {
  readonly pageBytes: number
  readonly pages: Page[]
  sizeBytes: number

  constructor(pageBytes: number, pages: Page[] = [], sizeBytes = 0) {
    this.pageBytes = pageBytes
    this.pages = pages
    this.sizeBytes = sizeBytes
  }

  copy(): FileImage {
    return new FileImage(this.pageBytes, this.pages.slice(), this.sizeBytes)
  }

  /** @returns bytes read: fewer than `into` holds where the file ends */
  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.sizeBytes - position))
    let done = 0
    while (done < count) {
      const at = position + done
      const start = at % this.pageBytes
      const part = Math.min(this.pageBytes - start, count - done)
      const page = this.pages[(at - start) / this.pageBytes]
      const there = Math.max(0, Math.min(part, (page?.length ?? 0) - start))
      if (page !== undefined && there > 0) into.set(page.subarray(start, start + there), done)
      if (there < part) into.fill(0, done + there, done + part)
      done += part
    }
    return count
  }

  /** @returns the places of the pages that changed: from the first, up to and not including the second */
  write(bytes: Uint8Array, position: number): readonly [number, number] {
    const end = position + bytes.length
    let done = 0
    while (done < bytes.length) {
      const at = position + done
      const start = at % this.pageBytes
      const part = Math.min(this.pageBytes - start, bytes.length - done)
      const place = (at - start) / this.pageBytes
      const old = this.pages[place]
      const page = new Uint8Array(Math.max(old?.length ?? 0, start + part))
      if (old !== undefined) page.set(old)
      page.set(bytes.subarray(done, done + part), start)
      this.pages[place] = page
      done += part
    }
    this.sizeBytes = Math.max(this.sizeBytes, end)
    return [Math.floor(position / this.pageBytes), Math.ceil(end / this.pageBytes)]
  }

  /** Shrinks the file or lets it grow by zeros. @returns the places of the pages that changed */
  resize(sizeBytes: number): readonly [number, number] {
    const before = this.pages.length
    this.sizeBytes = sizeBytes
    const whole = Math.floor(sizeBytes / this.pageBytes)
    const rest = sizeBytes % this.pageBytes
    const last = this.pages[whole]
    if (last !== undefined && last.length > rest) this.pages[whole] = last.slice(0, rest)
    this.pages.length = Math.min(before, rest === 0 ? whole : whole + 1)
    return [whole, before]
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.sizeBytes)
    this.read(all, 0)
    return all
  }
}
